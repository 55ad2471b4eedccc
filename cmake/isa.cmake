# Folder of ukernels/ -> compile flags. A tier that the compiler does not know is left out of the build, and so is one
# whose folder is empty.
include(CheckCXXCompilerFlag)

set(PW_FLAGS_generic "")
set(PW_ISAS generic)
set(PW_TWINS)
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(PW_FLAGS_avx2 -mavx2 -mfma -mf16c -mbmi -mbmi2)
  set(PW_FLAGS_avx512 ${PW_FLAGS_avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mprefer-vector-width=512)
  # Each unit above AVX-512 by itself: processors have them one by one (base/cpu.cpp asks for the same). Those with tiles
  # have AVX512-BF16, whose conversions the epilogues use.
  set(PW_FLAGS_avxvnni ${PW_FLAGS_avx2} -mavxvnni)
  set(PW_FLAGS_vnni ${PW_FLAGS_avx512} -mavx512vnni)
  set(PW_FLAGS_bf16 ${PW_FLAGS_avx512} -mavx512bf16)
  set(PW_FLAGS_fp16 ${PW_FLAGS_avx512} -mavx512fp16)
  set(PW_FLAGS_amx ${PW_FLAGS_avx512} -mavx512bf16 -mamx-tile -mamx-bf16 -mamx-int8)
  set(PATHWEAVE_TIERS avx2 avx512 avxvnni vnni bf16 fp16 amx CACHE STRING "tiers above generic to build")
  foreach(isa IN LISTS PATHWEAVE_TIERS)
    string(REPLACE ";" " " flags "${PW_FLAGS_${isa}}")
    check_cxx_compiler_flag("${flags}" PW_COMPILER_KNOWS_${isa})
    if(PW_COMPILER_KNOWS_${isa})
      list(APPEND PW_ISAS ${isa})
    endif()
  endforeach()
  # The sources of the tiers above AVX2 on AVX2 instructions (tier X-emulated, PW_EMULATED defined): proves them right
  # where the machine lacks the unit. They need no compiler that knows it.
  option(PATHWEAVE_EMULATED_TIERS "build the emulated twins of the tiers above avx2" ON)
  if(PATHWEAVE_EMULATED_TIERS)
    set(PW_TWINS avx512 avxvnni vnni bf16 fp16 amx)
  endif()
endif()
