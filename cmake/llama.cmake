# Included by CMake into the build of llama-cpp-python (see the Makefile), once for each of its projects.
#
# llama-cpp-python forces llama.cpp's "common" library on; it serves llama.cpp's own command-line tools, which fovea
# does not use. A normal variable set here wins over the forced cache entry (CMake policy CMP0126).
set(LLAMA_BUILD_COMMON OFF)

if(PROJECT_NAME STREQUAL "ggml" AND NOT MSVC)
  include(${CMAKE_CURRENT_LIST_DIR}/wide-steps.cmake)
endif()
