# Writes OUTPUT, a header that names the commit of the source tree SOURCE_DIR. Run with every build: the file changes only
# when the commit does. A tree that is no clone has no commit.
find_package(Git QUIET)
set(commit unknown)
if(Git_FOUND)
  execute_process(COMMAND ${GIT_EXECUTABLE} -C ${SOURCE_DIR} describe --always --exclude=* --abbrev=12 --dirty=+
                  OUTPUT_VARIABLE described OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
  if(NOT failed)
    set(commit ${described})
  endif()
endif()
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "#define LOCKSTEP_COMMIT \"${commit}\"\n")
