"""Policy: when to look closer, within a budget that a person set in percent, and what it will cost.

``controller`` keeps the spending near the budget, ``predict`` turns measured speeds into seconds, ``words`` turns
signals into a reason, ``overseer`` is the whole behind the port of ``agent.oversight``.
"""

from __future__ import annotations
