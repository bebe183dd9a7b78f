# Included by CMake into the build of llama-cpp-python (CMAKE_PROJECT_INCLUDE, see the Makefile).
#
# llama-cpp-python forces llama.cpp's "common" library on; it serves llama.cpp's own command-line tools, which fovea
# does not use. A normal variable set here wins over the forced cache entry (CMake policy CMP0126).
set(LLAMA_BUILD_COMMON OFF)
