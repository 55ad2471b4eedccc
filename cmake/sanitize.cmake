# A build that reports memory errors and undefined behaviour, or races, while it runs: see tools/sanitize.py.
set(PATHWEAVE_SANITIZE "" CACHE STRING "instrument everything: address (with undefined behaviour) or thread; empty for none")
set_property(CACHE PATHWEAVE_SANITIZE PROPERTY STRINGS "" address thread)

set(PATHWEAVE_SANITIZE_WITHOUT "" CACHE STRING "checks of undefined behaviour to leave out, by commas; they take most of the build")

if(PATHWEAVE_SANITIZE STREQUAL "address")
  # GCC 12 computes selects between vectors wrongly under -fsanitize=bounds; what it would find, address finds for all that
  # lies in memory.
  set(PW_SANITIZE -fsanitize=address,undefined -fno-sanitize=bounds)
  if(PATHWEAVE_SANITIZE_WITHOUT)
    list(APPEND PW_SANITIZE -fno-sanitize=${PATHWEAVE_SANITIZE_WITHOUT})
  endif()
  if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # In a library of its own, its log is the one of AddressSanitizer, which is never told where that is.
    add_link_options(-static-libubsan -Wl,--exclude-libs,libubsan.a)
  endif()
elseif(PATHWEAVE_SANITIZE STREQUAL "thread")
  set(PW_SANITIZE -fsanitize=thread)
elseif(PATHWEAVE_SANITIZE)
  message(FATAL_ERROR "PATHWEAVE_SANITIZE is '${PATHWEAVE_SANITIZE}': expected address or thread")
endif()
if(PW_SANITIZE)
  add_compile_options(${PW_SANITIZE} -fno-omit-frame-pointer -g1)
  add_link_options(${PW_SANITIZE})
endif()

# pw_optimisation(RESULT FLAGS...): those flags, or -O1 where code is instrumented: more takes long to compile and says less.
function(pw_optimisation result)
  if(PW_SANITIZE)
    set(${result} -O1 PARENT_SCOPE)
  else()
    set(${result} ${ARGN} PARENT_SCOPE)
  endif()
endfunction()
