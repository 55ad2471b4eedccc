// The machine's limits, measured by the probes of ukernels/kinds/limits.h. Each call makes short trials and gives the
// best: on a shared machine the others are disturbed.
#pragma once
#include <cstdint>
#include <string>
#include <vector>

namespace pw {

struct LimitProbe {
  std::string kind, name, dtype;  // dtype: of a peak, else ""
  int64_t operations = 0;         // of one round of a peak
};

// Every probe that this machine may use.
std::vector<LimitProbe> limit_probes();

// Nanoseconds from the first thread's start to the last one's end, the smallest of `trials`, each of which runs `rounds`
// rounds on each of `threads` threads. Throws Error for an unknown probe or when the threads are not to be had.
int64_t time_peak(const std::string& name, int threads, int64_t rounds, int trials);

// The same for reading `bytes` (a multiple of 4096) per thread, memory of its own, `times` times. Throws std::bad_alloc.
int64_t time_read(const std::string& name, int64_t bytes, int threads, int64_t times, int trials);

// The same for `count` barriers with nothing between them.
int64_t time_barriers(int threads, int64_t count, int trials);

}  // namespace pw
