# The public headers within a host's own: compiled, nothing more.
#
#   cmake -DINCLUDE=FOLDER -DSOURCE_DIR= -DWORK= -DCXX= -DCC=|"" -P headers_test.cmake
#
# - A host may have an engine/layer.h of its own, on its include path before ours or behind it.
# - It may include Xlib.h, with its macros Status, None, Bool and others, before our headers or after them.
# - No header warns, under more warnings than we build with ourselves, with g++ and with clang++.
# - C and C++ headers go together.
cmake_minimum_required(VERSION 3.25)
file(REMOVE_RECURSE ${WORK})
file(WRITE ${WORK}/host/engine/layer.h "inline int HostLayer() { return 1; }\n")
file(WRITE ${WORK}/host/layers/linear.h "inline int HostLinear() { return 2; }\n")
file(WRITE ${WORK}/host/models/lockstep.h "#error \"the host's\"\n")
# The macros of X11/X.h and X11/Xlib.h that a C++ header is most likely to meet.
file(WRITE ${WORK}/host/X11/Xlib.h [[
#define Status int
#define Bool int
#define True 1
#define False 0
#define None 0L
#define Always 2
#define Success 0
#define Above 0
#define Below 1
#define Complex 0
#define Unsorted 0
typedef struct Display Display;
extern "C" Status XInitThreads(void);
]])
set(use [[
#include "layers/linear.h"
#ifndef Status
#error "the host has lost its macro"
#endif
// With the macro still there: what does not name the class.
auto Wide(lockstep::Context& ctx) {
  return [&ctx] {
    auto made = lockstep::Network::Bind(ctx, lockstep::Linear(HostLayer()), {.input = {8, 4}});
    LOCKSTEP_TRY_ASSIGN(lockstep::Network net, std::move(made));
    LOCKSTEP_TRY(net.Predict(lockstep::ConstTensor(), lockstep::Tensor()));
    return made.status();
  }();
}
// And after the line that Xlib's users know.
#undef Status
lockstep::Status Named(lockstep::Context& ctx) { return Wide(ctx); }
static_assert(LOCKSTEP_VERSION >= 100 && LOCKSTEP_VERSION_MAJOR < 1);
]])
file(WRITE ${WORK}/before.cc "#include <X11/Xlib.h>\n#include \"engine/layer.h\"\n#include <lockstep/lockstep.h>\n${use}")
file(WRITE ${WORK}/after.cc
     "#include \"engine/layer.h\"\n#include <lockstep/lockstep.h>\n#include <X11/Xlib.h>\n#include <lockstep/engine/io/npy.h>\n${use}")
file(GLOB_RECURSE headers RELATIVE ${INCLUDE} ${INCLUDE}/lockstep/*.h)
list(LENGTH headers count)
if(count LESS 250)
  message(FATAL_ERROR "${INCLUDE}/lockstep has ${count} headers only")
endif()
list(TRANSFORM headers REPLACE "(.+)" "#include <\\1>\n" OUTPUT_VARIABLE includes)
list(JOIN includes "" includes)
if(CC)
  set(includes "#include <lockstep.h>\n#include <lockstep_mpi.h>\n${includes}")
endif()
file(WRITE ${WORK}/all.cc "${includes}")
file(WRITE ${WORK}/c.c "#include <lockstep.h>\n#include <lockstep_mpi.h>\n#if LOCKSTEP_VERSION < 100\n#error old\n#endif\n")

set(warnings -Wall -Wextra -Wpedantic -Wconversion -Wshadow -Werror)
function(compile compiler)
  execute_process(COMMAND ${compiler} -fsyntax-only ${warnings} ${ARGN} OUTPUT_VARIABLE said ERROR_VARIABLE said
                  RESULT_VARIABLE failed)
  if(failed)
    list(JOIN ARGN " " arguments)
    message(FATAL_ERROR "${compiler} ${arguments}:\n${said}")
  endif()
endfunction()

# The build's own, and clang++ where that is another one.
set(compilers ${CXX})
find_program(clang clang++)
if(clang AND NOT CXX MATCHES "clang")
  list(APPEND compilers ${clang})
endif()
foreach(compiler IN LISTS compilers)
  compile(${compiler} -std=c++20 -I${INCLUDE} -I${WORK}/host ${WORK}/before.cc)
  compile(${compiler} -std=c++20 -I${WORK}/host -I${INCLUDE} ${WORK}/after.cc)
  compile(${compiler} -std=c++20 -I${INCLUDE} ${WORK}/all.cc)
endforeach()
if(CC)
  compile(${CC} -std=c99 -I${INCLUDE} ${WORK}/c.c)
endif()
