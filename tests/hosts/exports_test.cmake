# What the shared libraries offer to other programs: namespace lockstep in C++, the functions of lockstep.h in C, each with
# its release, and nothing that would keep a library from being unloaded.
#
#   cmake -DLIBRARY= -DC_LIBRARY=|"" -DREADELF= -DRELEASE=0.1 -DSOURCE_DIR= -P exports_test.cmake
cmake_minimum_required(VERSION 3.25)

# A line of this list is part of the C interface's promise: what is on it stays.
set(c_symbols
  lockstep_answer_name lockstep_answers lockstep_batch lockstep_categories lockstep_category lockstep_column_kind
  lockstep_column_name lockstep_columns lockstep_create lockstep_create_from_text lockstep_destroy lockstep_error
  lockstep_explain_row lockstep_inputs lockstep_jacobian lockstep_load lockstep_outputs lockstep_predict
  lockstep_predict_row lockstep_predictor_create lockstep_predictor_destroy lockstep_predictor_update lockstep_save
  lockstep_set_learning_rate lockstep_share lockstep_steps lockstep_summary lockstep_targets lockstep_task_of
  lockstep_threshold lockstep_train_step lockstep_train_step_weighted lockstep_version lockstep_worker_create
  lockstep_worker_destroy lockstep_worker_error lockstep_worker_predict lockstep_worker_predict_row)

# Leaves in `symbols` what LIBRARY offers, as BINDING:NAME@VERSION.
function(read_symbols library)
  execute_process(COMMAND ${READELF} --dyn-syms -W ${library} OUTPUT_VARIABLE table COMMAND_ERROR_IS_FATAL ANY)
  string(REPLACE "\n" ";" lines "${table}")
  set(symbols "")
  foreach(line IN LISTS lines)
    # Num: Value Size Type Bind Vis Ndx Name; ABS is the name of a version itself.
    if(line MATCHES "^ *[0-9]+: [0-9a-f]+ +[0-9a-fx]+ [A-Z]+ +([A-Z]+) +[A-Z]+ +[0-9]+ ([^ ]+)")
      string(REPLACE "@@" "@" name "${CMAKE_MATCH_2}")
      list(APPEND symbols ${CMAKE_MATCH_1}:${name})
    endif()
  endforeach()
  set(symbols ${symbols} PARENT_SCOPE)
endfunction()

# The namespace of the release is in every name, once it is in the sources.
file(READ ${SOURCE_DIR}/engine/base/status.h text)
set(scope 8lockstep)
if(text MATCHES "namespace lockstep::inline (v[0-9_]+)")
  string(LENGTH ${CMAKE_MATCH_1} length)
  string(APPEND scope ${length}${CMAKE_MATCH_1})
endif()
read_symbols(${LIBRARY})
list(LENGTH symbols count)
if(count LESS 500)
  message(FATAL_ERROR "${LIBRARY} offers ${count} symbols only")
endif()
set(alien ${symbols})
list(FILTER alien EXCLUDE REGEX "^(GLOBAL|WEAK):_Z(T[ISTV]|T[chv][0-9a-z_]*_)?NK?[OR]?${scope}[^@]*@LOCKSTEP_${RELEASE}$")
if(alien)
  list(JOIN alien "\n" alien)
  message(FATAL_ERROR "${LIBRARY} offers what is not this release's:\n${alien}")
endif()
message("${count} symbols of C++")

if(C_LIBRARY)
  read_symbols(${C_LIBRARY})
  list(SORT symbols)
  list(TRANSFORM c_symbols REPLACE "(.+)" "GLOBAL:\\1@LOCKSTEP_C_${RELEASE}" OUTPUT_VARIABLE expected)
  if(NOT symbols STREQUAL expected)
    set(more ${symbols})
    list(REMOVE_ITEM more ${expected})
    list(REMOVE_ITEM expected ${symbols})
    message(FATAL_ERROR "${C_LIBRARY} offers what is not on the list: '${more}', or does not offer: '${expected}'")
  endif()
endif()
