// Why a run failed, beside what spi/routine.h has: kernels that find out how large their outputs are.
#pragma once

namespace pw {

// Contents that say sizes say none that the output may have.
constexpr int kMisfit = 103;

}  // namespace pw
