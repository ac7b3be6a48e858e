# cmake -DFILES=FILE|... -DNAMES=NAME|... -DHEADER=FILE -DOUTPUT=FILE -P embed.cmake: writes a C++ source that defines, for
# each file, the function NAME that the header declares and that returns the file's bytes.
string(REPLACE "|" ";" FILES "${FILES}")
string(REPLACE "|" ";" NAMES "${NAMES}")
set(code "#include \"${HEADER}\"\n\nnamespace lockstep::inline v0_1::tools {\n")
set(sixteen "'....','....',")
string(REPEAT "${sixteen}" 8 sixteen)
foreach(file name IN ZIP_LISTS FILES NAMES)
  file(READ "${file}" text)
  string(TOLOWER "${text}" text)
  string(FIND "${text}" "</script" at)
  if(NOT at EQUAL -1)
    message(FATAL_ERROR "${file} cannot stand within a page: it holds the end tag of a script")
  endif()
  file(READ "${file}" bytes HEX)
  string(REGEX REPLACE "(..)" "'\\\\x\\1'," bytes "${bytes}")
  string(REGEX REPLACE "(${sixteen})" "\\1\n" bytes "${bytes}") # compilers dislike a line of a megabyte
  string(APPEND code "static constexpr char k${name}[] = {\n${bytes}};\n"
                     "std::string_view ${name}() { return {k${name}, sizeof(k${name})}; }\n")
endforeach()
file(WRITE "${OUTPUT}" "${code}}  // namespace lockstep::inline v0_1::tools\n")
