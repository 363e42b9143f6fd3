# Build options and the flags that every target shares.

option(WUSH_BUILD_TESTS "Build the tests" ON)
option(WUSH_BUILD_BENCHMARKS "Build the Google Benchmark programs" ON)
option(WUSH_SANITIZE "Build with address and undefined-behaviour sanitizers" OFF)
option(WUSH_COVERAGE "Count the lines that tests execute (tests/coverage.sh)" OFF)
option(WUSH_FUZZ "Build the libFuzzer targets (needs clang)" OFF)
option(WUSH_KERNELS_ONLY "Only the kernels, their tests and benchmarks: needs no library but those for tests" OFF)
set(WUSH_CUDA "AUTO" CACHE STRING "CUDA kernels: AUTO (when nvcc is there), ON, OFF")
set_property(CACHE WUSH_CUDA PROPERTY STRINGS AUTO ON OFF)

set(WUSH_CUDA_ARCHITECTURES "80;90a-real" CACHE STRING "Architectures of the CUDA kernels that can be compiled for any")

if(NOT CMAKE_BUILD_TYPE AND NOT CMAKE_CONFIGURATION_TYPES)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_RUNTIME_OUTPUT_DIRECTORY "${CMAKE_BINARY_DIR}/bin")

find_program(WUSH_CCACHE ccache)
if(WUSH_CCACHE)
  set(CMAKE_CXX_COMPILER_LAUNCHER "${WUSH_CCACHE}")
endif()

# The number formats promise the same bits everywhere, so a multiply and an add
# are never contracted into one rounding.
add_library(wush_flags INTERFACE)
target_compile_options(wush_flags INTERFACE
  $<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wpedantic;-Wshadow;-Wnon-virtual-dtor;-Woverloaded-virtual;-Werror;-ffp-contract=off>)

if(WUSH_SANITIZE)
  target_compile_options(wush_flags INTERFACE
    $<$<COMPILE_LANGUAGE:CXX>:-fsanitize=address,undefined;-fno-sanitize-recover=all;-fno-omit-frame-pointer>)
  target_link_options(wush_flags INTERFACE -fsanitize=address,undefined)
endif()
