# cmake -DSOURCE_DIR= -DLIST=FILE -DFACES=HEADER|... -DOUTPUT_DIR= -P headers.cmake: makes of the headers in SOURCE_DIR that
# LIST names, one a line, those that outside code includes, in OUTPUT_DIR, and removes what else lies there. A FACE is one
# that lies there under its own name, too. They differ from ours in two things:
# - They include each other as <lockstep/...>. A host may have its own engine/layer.h.
# - The words Status and Below are theirs from the first line to the last. Xlib.h makes macros of them.
# A header that stays as it was is not written.
cmake_minimum_required(VERSION 3.25)
cmake_path(ABSOLUTE_PATH OUTPUT_DIR)
file(STRINGS ${LIST} headers)
string(REPLACE "|" ";" FACES "${FACES}")
list(TRANSFORM FACES REPLACE ".*/" "" OUTPUT_VARIABLE names)
file(GLOB_RECURSE others LIST_DIRECTORIES FALSE RELATIVE ${OUTPUT_DIR} ${OUTPUT_DIR}/*)
list(REMOVE_ITEM others ${headers} ${names})
list(TRANSFORM others PREPEND ${OUTPUT_DIR}/)
if(others)
  file(REMOVE ${others})
endif()

foreach(header IN LISTS headers)
  file(READ ${SOURCE_DIR}/${header} text)
  string(REGEX REPLACE "(\n#include )\"([^\"\n]+)\"" "\\1<lockstep/\\2>" text "${text}")
  foreach(word Status Below)
    if(text MATCHES "[^A-Za-z_]${word}[^A-Za-z_]")
      set(guard "(\n#define LOCKSTEP_[A-Z0-9_]+_H_\n)")
      string(REGEX REPLACE "${guard}" "\\1#pragma push_macro(\"${word}\")\n#undef ${word}\n" text "${text}")
      string(REGEX REPLACE "(\n#endif[^\n]*\n)$" "\n#pragma pop_macro(\"${word}\")\\1" text "${text}")
    endif()
  endforeach()
  file(CONFIGURE OUTPUT ${OUTPUT_DIR}/${header} CONTENT "${text}" @ONLY)
endforeach()
foreach(face name IN ZIP_LISTS FACES names)
  file(CONFIGURE OUTPUT ${OUTPUT_DIR}/${name} CONTENT "#include <lockstep/${face}>  // IWYU pragma: export\n")
endforeach()
