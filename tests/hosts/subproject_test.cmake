# A host that has this folder as a subproject (FetchContent does the same): nothing of ours reaches it but the target
# lockstep::lockstep and its headers, and installing the host installs nothing of ours.
#
#   cmake -DGENERATOR= -DSOURCE_DIR= -DWORK= -DCXX= -P subproject_test.cmake
cmake_minimum_required(VERSION 3.25)
macro(run)
  execute_process(COMMAND ${ARGV} OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "failed (${result}): ${ARGV}\n${output}")
  endif()
endmacro()

file(REMOVE_RECURSE ${WORK})
file(WRITE ${WORK}/engine/layer.h "inline int HostLayer() { return 3; }\n")
file(WRITE ${WORK}/main.cc [[
#include <lockstep/lockstep.h>

#include "engine/layer.h"

int main() { return lockstep::Context({.threads = HostLayer()}).threads() == 3 ? 0 : 1; }
]])
file(WRITE ${WORK}/CMakeLists.txt [[
cmake_minimum_required(VERSION 3.25)
project(host LANGUAGES CXX)

# What the host's settings are, as text.
set(settings CMAKE_BUILD_TYPE CMAKE_CXX_EXTENSIONS CMAKE_CXX_FLAGS CMAKE_CXX_FLAGS_RELEASE CMAKE_CXX_STANDARD
  CMAKE_CXX_STANDARD_REQUIRED CMAKE_EXPORT_COMPILE_COMMANDS CMAKE_INSTALL_PREFIX CMAKE_POSITION_INDEPENDENT_CODE
  BUILD_SHARED_LIBS BUILD_TESTING)
function(describe result)
  set(text "")
  foreach(name IN LISTS settings)
    string(APPEND text "${name}=${${name}}\n")
  endforeach()
  foreach(name COMPILE_DEFINITIONS COMPILE_OPTIONS INCLUDE_DIRECTORIES LINK_OPTIONS)
    get_directory_property(value ${name})
    string(APPEND text "${name}=${value}\n")
  endforeach()
  get_property(languages GLOBAL PROPERTY ENABLED_LANGUAGES)
  set(${result} "${text}${languages}\n" PARENT_SCOPE)
endfunction()

get_cmake_property(cached_before CACHE_VARIABLES)
describe(before)
if(FETCH)
  include(FetchContent)
  get_cmake_property(cached_before CACHE_VARIABLES)
  FetchContent_Declare(lockstep SOURCE_DIR ${LOCKSTEP})
  FetchContent_MakeAvailable(lockstep)
else()
  add_subdirectory(${LOCKSTEP} lockstep)
endif()
describe(after)
if(NOT before STREQUAL after)
  message(FATAL_ERROR "settings before:\n${before}and after:\n${after}")
endif()
# Of the cache only what is named after us, and where packages were found.
get_cmake_property(cached CACHE_VARIABLES)
list(REMOVE_ITEM cached ${cached_before})
list(FILTER cached EXCLUDE REGEX "^LOCKSTEP_|^lockstep_|^FETCHCONTENT_|_DIR$|^ZLIB_|^FIND_PACKAGE_MESSAGE_DETAILS_|^CMAKE_HAVE_|^CMAKE_PROJECT_VERSION")
if(cached)
  message(FATAL_ERROR "new in the host's cache: ${cached}")
endif()

add_executable(host main.cc)
target_include_directories(host PRIVATE .)
target_link_libraries(host PRIVATE lockstep::lockstep)
target_compile_options(host PRIVATE -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)
install(FILES main.cc DESTINATION share/host)
]])

foreach(fetch ON OFF)
  set(build ${WORK}/build_${fetch})
  run(${CMAKE_COMMAND} -S ${WORK} -B ${build} -G ${GENERATOR} -DCMAKE_CXX_COMPILER=${CXX} -DLOCKSTEP=${SOURCE_DIR}
      -DFETCH=${fetch} -DCMAKE_EXPORT_COMPILE_COMMANDS=OFF)
  if(EXISTS ${build}/compile_commands.json)
    message(FATAL_ERROR "the host's build has a compile_commands.json it did not ask for")
  endif()
  run(${CMAKE_COMMAND} --install ${build} --prefix ${WORK}/prefix_${fetch})
  file(GLOB_RECURSE installed RELATIVE ${WORK}/prefix_${fetch} ${WORK}/prefix_${fetch}/*)
  if(NOT installed STREQUAL "share/host/main.cc")
    message(FATAL_ERROR "installing the host installed ${installed}")
  endif()
endforeach()

# One object of the host, with the headers it sees: the library itself would take minutes.
run(${CMAKE_COMMAND} --build ${build} --target lockstep_headers)
if(GENERATOR MATCHES "Ninja")
  run(${CMAKE_COMMAND} --build ${build} --target CMakeFiles/host.dir/main.cc.o --verbose)
else()
  run(${CMAKE_COMMAND} --build ${build} --target main.o -- VERBOSE=1)
endif()
string(REGEX MATCH "[^\n]*main\\.cc\\.o[^\n]*main\\.cc[^\n]*" command "${output}")
set(allowed "-I${WORK}/\\. |-I${WORK} |-I${build}/[^ ]*include |-isystem ${build}/[^ ]*include ")
string(REGEX REPLACE "${allowed}" "" rest "${command} ")
if(command STREQUAL "" OR rest MATCHES " -(I|isystem|f|O)[^ ]*")
  message(FATAL_ERROR "more than the host's own in how it is compiled (${CMAKE_MATCH_0}):\n${command}")
endif()
