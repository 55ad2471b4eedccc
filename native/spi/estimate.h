// What a routine does for a problem in a variant, whatever the machine: the price of a route that nobody measured.
#pragma once
#include <cstdint>
#include <string>

#include "spi/problem.h"

namespace pw {

// Work is counted in operations at the peak rate of the unit that does it: `add(1000, 0.5)` are a thousand operations that
// take as long as two thousand at the peak. What is not said is taken from the layer: see src/pathweave/runtime/estimates.py,
// which makes nanoseconds of it.
struct Estimate {
  // Bytes that are read or written beside inputs, outputs and the first reading of constants, and the size of the memory in
  // which they lie: it decides from which cache they come.
  struct Moved {
    double bytes = 0, room = 0;
  };
  static constexpr int kMostMoved = 4;

  double operations = -1, work = -1;  // < 0: those of the layer, at `share`
  double share = 0;                   // of the peak, for the layer's operations; 0: not said
  double constants = -1;              // bytes of constants, as they are packed, that a run reads; < 0: those of the layer
  double pieces = -1;                 // of work that threads may do at the same time; < 0: enough for all
  int64_t phases = 1;                 // meetings of the team in a run, its end included
  DType unit = DType::f32;            // whose peak counts
  Moved moved[kMostMoved];

  // So many operations, at a share of the peak.
  Estimate& add(double count, double at) {
    operations = (operations < 0 ? 0 : operations) + count;
    work = (work < 0 ? 0 : work) + count / at;
    return *this;
  }
  // The layer's operations, at a share of the peak.
  static Estimate at(double share) {
    Estimate e;
    e.share = share;
    return e;
  }
  Estimate& move(double bytes, double room) {
    for (Moved& m : moved) {
      if (m.bytes != 0) continue;
      m = {bytes, room};
      break;
    }
    return *this;
  }
};

// A routine that says what it does is one of these too.
class Estimating {
 public:
  virtual ~Estimating() = default;
  // For an accepted problem in one of its variants.
  virtual Estimate estimate(const Problem& problem, const std::string& variant) const = 0;
};

}  // namespace pw
