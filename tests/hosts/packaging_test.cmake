# The recipes for package managers: readable by what reads them, and of the release that CMakeLists.txt names.
#
#   cmake -DSOURCE_DIR= -DWORK= -P packaging_test.cmake
cmake_minimum_required(VERSION 3.25)
set(folder ${SOURCE_DIR}/tools/packaging)
file(READ ${SOURCE_DIR}/CMakeLists.txt text)
if(NOT text MATCHES "project\\(lockstep VERSION (([0-9]+\\.[0-9]+)\\.[0-9]+) ")
  message(FATAL_ERROR "CMakeLists.txt names no version")
endif()
set(version ${CMAKE_MATCH_1})
set(minor ${CMAKE_MATCH_2})

function(expect file pattern)
  file(READ ${folder}/${file} text)
  if(NOT text MATCHES "${pattern}")
    message(FATAL_ERROR "tools/packaging/${file} has no '${pattern}'")
  endif()
endfunction()
string(REPLACE "." "\\." version_pattern ${version})
string(REPLACE "." "\\." minor_pattern ${minor})
expect(debian/changelog "^lockstep \\(${version_pattern}\\) ")
expect(debian/control "\nPackage: liblockstep${minor_pattern}\n")
expect(conan/conanfile.py "--version ${version_pattern}")
expect(spack/package.py "version\\(\"${version_pattern}\"\\)")
if(NOT EXISTS ${folder}/debian/liblockstep${minor}.install)
  message(FATAL_ERROR "tools/packaging/debian has no liblockstep${minor}.install")
endif()

file(READ ${folder}/vcpkg/vcpkg.json json)
string(JSON named GET "${json}" version)
if(NOT named STREQUAL version)
  message(FATAL_ERROR "tools/packaging/vcpkg/vcpkg.json is of ${named}, CMakeLists.txt of ${version}")
endif()

find_program(python python3)
if(python)
  foreach(name conan/conanfile spack/package)
    execute_process(
      COMMAND ${python} -c "import sys; compile(open(sys.argv[1]).read(), sys.argv[1], 'exec')" ${folder}/${name}.py
      COMMAND_ERROR_IS_FATAL ANY)
  endforeach()
endif()
