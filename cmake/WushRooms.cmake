# Rooms and the one direction in which they may see each other:
#   kernels <- lib <- analysis, experiments
#
# Headers are included by their path from the repository root ("lib/text/tokenizer.h"),
# but no target has the root on its include path. Each room has a folder of its own in
# the build tree that holds one link to it, and a target gets only the folders of the
# rooms it may use: kernels cannot include lib even by mistake.

foreach(room kernels lib analysis experiments tests)
  set(folder "${CMAKE_BINARY_DIR}/rooms/${room}")
  file(MAKE_DIRECTORY "${folder}")
  if(NOT EXISTS "${folder}/${room}")
    file(CREATE_LINK "${PROJECT_SOURCE_DIR}/${room}" "${folder}/${room}" SYMBOLIC)
  endif()
  add_library(wush_room_${room} INTERFACE)
  target_include_directories(wush_room_${room} INTERFACE "${folder}")
endforeach()
target_link_libraries(wush_room_lib INTERFACE wush_room_kernels)
target_link_libraries(wush_room_analysis INTERFACE wush_room_lib)
target_link_libraries(wush_room_experiments INTERFACE wush_room_analysis)
target_link_libraries(wush_room_tests INTERFACE wush_room_experiments)

# Not the kernels, which are compiled with optimisation in every build.
if(WUSH_COVERAGE)
  target_compile_options(wush_room_lib INTERFACE --coverage -fprofile-update=atomic)
  target_compile_definitions(wush_room_lib INTERFACE WUSH_COVERAGE)
  target_link_options(wush_room_lib INTERFACE --coverage)
endif()

# wush_library(NAME ROOM room SOURCES ... [DEPENDS ...] [PRIVATE_DEPENDS ...])
function(wush_library name)
  cmake_parse_arguments(ARG "" "ROOM" "SOURCES;DEPENDS;PRIVATE_DEPENDS" ${ARGN})
  add_library(${name} STATIC ${ARG_SOURCES})
  target_link_libraries(${name}
    PUBLIC wush_room_${ARG_ROOM} ${ARG_DEPENDS}
    PRIVATE wush_flags ${ARG_PRIVATE_DEPENDS})
endfunction()

# wush_test(NAME SOURCES ... DEPENDS ...): one GoogleTest program, every case its own
# CTest entry, so that a skipped case is named in the report. Tests find the repository
# through WUSH_SOURCE_DIR and the optional shared data through tests/shared_data.h.
function(wush_test name)
  cmake_parse_arguments(ARG "" "TIMEOUT" "SOURCES;DEPENDS" ${ARGN})
  if(NOT ARG_TIMEOUT)
    set(ARG_TIMEOUT 300)
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE wush_room_tests wush_flags ${ARG_DEPENDS}
                                        GTest::gmock GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE WUSH_SOURCE_DIR="${PROJECT_SOURCE_DIR}")
  gtest_discover_tests(${name} TEST_PREFIX "${name}/" DISCOVERY_MODE PRE_TEST
                       DISCOVERY_TIMEOUT 120
                       PROPERTIES TIMEOUT ${ARG_TIMEOUT})
endfunction()

# wush_benchmark(NAME SOURCES ... DEPENDS ...): one Google Benchmark program.
function(wush_benchmark name)
  cmake_parse_arguments(ARG "" "ROOM" "SOURCES;DEPENDS" ${ARGN})
  if(NOT WUSH_BUILD_BENCHMARKS)
    return()
  endif()
  add_executable(${name} ${ARG_SOURCES})
  target_link_libraries(${name} PRIVATE wush_room_${ARG_ROOM} wush_flags ${ARG_DEPENDS}
                                        benchmark::benchmark)
endfunction()
