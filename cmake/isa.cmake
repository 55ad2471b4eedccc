# Folder of ukernels/ -> compile flags. A tier that the compiler does not know is left out of the build.
set(PW_FLAGS_generic "")
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  set(PW_FLAGS_avx2 -mavx2 -mfma -mf16c -mbmi -mbmi2)
  set(PW_FLAGS_avx512 ${PW_FLAGS_avx2} -mavx512f -mavx512bw -mavx512vl -mavx512dq -mprefer-vector-width=512)
  set(PW_ISAS generic avx2 avx512)
  # The sources of avx512/ on AVX2 instructions: proves them right where the machine lacks AVX-512.
  option(PATHWEAVE_EMULATED_TIERS "build avx512-emulated" ON)
else()
  set(PW_ISAS generic)
endif()
