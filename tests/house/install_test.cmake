# Installs the library, builds the README's programs against the installed tree as an outside project would (once with
# CMake's find_package, once with pkg-config), runs it, and weighs it.
#
#   cmake -DKIND=static|shared -DCOMPONENT= -DSOURCE_DIR= -DBINARY_DIR= -DBUILD_TYPE= -DGENERATOR= -DCXX= -DSTRIP=
#         -DC_API=ON|OFF -DCC= -DMPI=COMPILER_OF_MPI|
#         -P install_test.cmake
cmake_minimum_required(VERSION 3.25)
set(max_program_bytes 10000000)

# Runs a command and leaves what it printed in `output`; one that fails ends the test.
macro(run)
  execute_process(COMMAND ${ARGV} OUTPUT_VARIABLE output ERROR_VARIABLE output RESULT_VARIABLE result)
  if(NOT result EQUAL 0)
    message(FATAL_ERROR "failed (${result}): ${ARGV}\n${output}")
  endif()
endmacro()

set(work ${BINARY_DIR}/tests/house/install_${KIND})
set(prefix ${work}/prefix)
file(REMOVE_RECURSE ${prefix} ${work}/outside ${work}/outside_c ${work}/outside_examples ${work}/outside_mpi)
file(MAKE_DIRECTORY ${work}/outside)

run(${CMAKE_COMMAND} --install ${BINARY_DIR} --prefix ${prefix} --component ${COMPONENT})

# Every block of C++ in the README is a whole program.
file(READ ${SOURCE_DIR}/README.md readme)
set(programs 0)
while(TRUE)
  string(FIND "${readme}" "```cpp\n" start)
  if(start EQUAL -1)
    break()
  endif()
  math(EXPR start "${start} + 7")
  string(SUBSTRING "${readme}" ${start} -1 readme)
  string(FIND "${readme}" "```" end)
  string(SUBSTRING "${readme}" 0 ${end} snippet)
  string(SUBSTRING "${readme}" ${end} -1 readme)
  math(EXPR programs "${programs} + 1")
  file(WRITE ${work}/outside/program${programs}.cc "${snippet}")
endwhile()
if(programs LESS 2)
  message(FATAL_ERROR "README.md has ${programs} blocks of C++ where two programs were expected")
endif()

# With CMake.
file(WRITE ${work}/outside/CMakeLists.txt [[
cmake_minimum_required(VERSION 3.25)
project(outside LANGUAGES CXX)
find_package(lockstep 0.1 REQUIRED CONFIG)
file(GLOB sources program*.cc)
foreach(source ${sources})
  cmake_path(GET source STEM name)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE lockstep::lockstep)
endforeach()
]])
run(${CMAKE_COMMAND} -S ${work}/outside -B ${work}/outside/build -G ${GENERATOR} -DCMAKE_CXX_COMPILER=${CXX}
    -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH=${prefix})
run(${CMAKE_COMMAND} --build ${work}/outside/build)
foreach(number RANGE 1 ${programs})
  run(${work}/outside/build/program${number})
  if(output STREQUAL "")
    message(FATAL_ERROR "program ${number} of the README printed nothing")
  endif()
  set(printed${number} "${output}")
endforeach()

# The examples, as outside programs too: each is one file and checks itself.
file(GLOB examples ${SOURCE_DIR}/tools/examples/*.cc)
list(REMOVE_ITEM examples ${SOURCE_DIR}/tools/examples/mpi_host.cc) # comes with its own project below
foreach(example ${examples})
  file(COPY ${example} DESTINATION ${work}/outside_examples)
endforeach()
file(WRITE ${work}/outside_examples/CMakeLists.txt [[
cmake_minimum_required(VERSION 3.25)
project(outside_examples LANGUAGES CXX)
find_package(lockstep 0.1 REQUIRED CONFIG)
file(GLOB sources *.cc)
foreach(source ${sources})
  cmake_path(GET source STEM name)
  add_executable(${name} ${source})
  target_compile_options(${name} PRIVATE -Wall -Wextra -Wpedantic -Werror)
  target_link_libraries(${name} PRIVATE lockstep::lockstep)
endforeach()
]])
run(${CMAKE_COMMAND} -S ${work}/outside_examples -B ${work}/outside_examples/build -G ${GENERATOR}
    -DCMAKE_CXX_COMPILER=${CXX} -DCMAKE_BUILD_TYPE=Debug -DCMAKE_PREFIX_PATH=${prefix})
run(${CMAKE_COMMAND} --build ${work}/outside_examples/build)
foreach(example ${examples})
  cmake_path(GET example STEM name)
  run(${work}/outside_examples/build/${name} WORKING_DIRECTORY ${work}/outside_examples)
endforeach()

# With pkg-config.
find_program(pkg_config NAMES pkg-config pkgconf REQUIRED)
file(GLOB_RECURSE pc_file ${prefix}/*/lockstep.pc)
cmake_path(GET pc_file PARENT_PATH pc_dir)
cmake_path(GET pc_dir PARENT_PATH lib_dir)
set(ENV{PKG_CONFIG_PATH} ${pc_dir})
if(KIND STREQUAL "shared")
  set(ENV{LD_LIBRARY_PATH} ${lib_dir})
  run(${pkg_config} --cflags --libs lockstep)
else()
  run(${pkg_config} --cflags --libs --static lockstep)
endif()
separate_arguments(flags UNIX_COMMAND "${output}")
run(${CXX} -std=c++20 -O2 ${work}/outside/program1.cc -o ${work}/outside/by_pkg_config ${flags})
run(${work}/outside/by_pkg_config)
if(NOT output STREQUAL printed1)
  message(FATAL_ERROR "the program built with CMake printed\n${printed1}and the one built with pkg-config\n${output}")
endif()

# From C, the same two ways: the program of the tests, with nothing but the installed <lockstep.h>.
if(C_API)
  file(MAKE_DIRECTORY ${work}/outside_c)
  file(COPY_FILE ${SOURCE_DIR}/tests/tools/capi_program.c ${work}/outside_c/main.c)
  file(WRITE ${work}/outside_c/CMakeLists.txt [[
cmake_minimum_required(VERSION 3.25)
project(outside_c LANGUAGES C CXX)
find_package(lockstep 0.1 REQUIRED CONFIG COMPONENTS c)
add_executable(outside_c main.c)
target_link_libraries(outside_c PRIVATE lockstep::c)
]])
  run(${CMAKE_COMMAND} -S ${work}/outside_c -B ${work}/outside_c/build -G ${GENERATOR} -DCMAKE_CXX_COMPILER=${CXX}
      -DCMAKE_C_COMPILER=${CC} -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH=${prefix})
  run(${CMAKE_COMMAND} --build ${work}/outside_c/build)
  run(${work}/outside_c/build/outside_c ${work}/outside_c)
  if(KIND STREQUAL "shared")
    run(${pkg_config} --cflags --libs lockstep-c)
  else()
    run(${pkg_config} --cflags --libs --static lockstep-c)
  endif()
  separate_arguments(flags UNIX_COMMAND "${output}")
  run(${CC} -std=c99 -Wall -Wextra -Wpedantic -Werror ${work}/outside_c/main.c -o ${work}/outside_c/by_pkg_config
      ${flags} -lm)
  run(${work}/outside_c/by_pkg_config ${work}/outside_c)
endif()

# With an MPI of its own, in C++ and in C: built only, since a launcher is a matter of the machine.
if(MPI)
  file(MAKE_DIRECTORY ${work}/outside_mpi)
  file(COPY ${SOURCE_DIR}/tools/examples/mpi_host.cc ${SOURCE_DIR}/tests/mpi/host_program.c DESTINATION ${work}/outside_mpi)
  file(WRITE ${work}/outside_mpi/CMakeLists.txt [[
cmake_minimum_required(VERSION 3.25)
project(outside_mpi LANGUAGES C CXX)
find_package(lockstep 0.1 REQUIRED CONFIG COMPONENTS mpi OPTIONAL_COMPONENTS mpi_c)
add_executable(mpi_host mpi_host.cc)
target_link_libraries(mpi_host PRIVATE lockstep::mpi MPI::MPI_C)
if(TARGET lockstep::mpi_c)
  add_executable(host_program host_program.c)
  target_link_libraries(host_program PRIVATE lockstep::mpi_c MPI::MPI_C)
endif()
]])
  run(${CMAKE_COMMAND} -S ${work}/outside_mpi -B ${work}/outside_mpi/build -G ${GENERATOR} -DCMAKE_CXX_COMPILER=${CXX}
      -DCMAKE_C_COMPILER=${CC} -DCMAKE_BUILD_TYPE=Release -DCMAKE_PREFIX_PATH=${prefix} -DMPI_C_COMPILER=${MPI})
  run(${CMAKE_COMMAND} --build ${work}/outside_mpi/build)
endif()

# How much the engine adds to a program that embeds it.
if(KIND STREQUAL "static" AND BUILD_TYPE STREQUAL "Release")
  run(${STRIP} -o ${work}/outside/stripped ${work}/outside/build/program1)
  file(SIZE ${work}/outside/stripped bytes)
  message("a stripped program that trains a network: ${bytes} bytes")
  if(bytes GREATER max_program_bytes)
    message(FATAL_ERROR "the stripped program has ${bytes} bytes, more than ${max_program_bytes}")
  endif()
endif()
message("${printed1}")
