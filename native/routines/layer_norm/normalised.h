// What the normalisations share: over which axes, with which sums, and what becomes of them.
#pragma once
#include <algorithm>
#include <cmath>
#include <string_view>
#include <vector>

#include "base/buffer.h"
#include "ukernels/kinds/norm_f32.h"
#include "values/operands.h"
#include "values/strided.h"
#include "values/vector.h"

namespace pw {

// The divisor that statistics make.
enum class Divisor { root, deviation, sum, root_of_sum };

// One normalisation as its attributes say.
struct Normalisation {
  Moment what = Moment::centred;
  Divisor divisor = Divisor::root;
  double least = 0;        // epsilon, or the least divisor of lp_norm
  int64_t groups = 0;      // of channels; 0: not by groups. Of instance_norm -1: every channel is one
  std::vector<int64_t> axes;

  bool by_channel() const { return groups != 0; }
  // 1 over the divisor of so many elements; 0 where lp_norm would divide by 0.
  double factor(double sum, double count) const noexcept {
    switch (divisor) {
      case Divisor::root: return 1 / std::sqrt(sum / count + least);
      case Divisor::deviation: return 1 / (std::sqrt(sum / count) + least);
      default: break;
    }
    const double norm = divisor == Divisor::sum ? sum : std::sqrt(sum), used = norm < least ? least : norm;
    return used == 0 ? 0 : 1 / used;
  }
};

// Whether a kind normalises by channels or groups of them.
inline bool normalises_channels(std::string_view kind) { return kind == "instance_norm" || kind == "group_norm"; }

inline Normalisation normalisation_of(const Problem& p) {
  Normalisation n;
  const int64_t rank = static_cast<int64_t>(p.in[0].shape.size());
  const auto from = [&](int64_t first) {
    for (int64_t a = first; a < rank; ++a) n.axes.push_back(a);
  };
  const std::string_view kind = p.kind;
  if (kind == "lp_norm") {
    n.what = p.integer("p") == 1 ? Moment::sizes : Moment::squares;
    n.divisor = p.integer("p") == 1 ? Divisor::sum : Divisor::root_of_sum;
    n.least = p.number("least");
    n.axes = {p.integer("axis")};
  } else if (kind == "mean_variance_norm") {
    n.divisor = Divisor::deviation;
    n.axes = p.integers("axes");
  } else if (normalises_channels(kind)) {
    n.groups = kind == "group_norm" ? p.integer("groups") : -1;
    from(kind == "group_norm" ? 1 : 2);
  } else {
    n.axes = p.integers("axes");
    if (n.axes.empty()) from((p.integer("axis") + rank) % rank);
    if (kind == "rms_norm") n.what = Moment::squares;
  }
  if (kind != "lp_norm") n.least = p.number("epsilon");
  for (int64_t& a : n.axes) a += a < 0 ? rank : 0;
  std::sort(n.axes.begin(), n.axes.end());
  return n;
}

// Which axes of a kernel's ports may be shorter in a run. Parameters of a layer over axes may not, as one of a single element
// would mean something else.
class NormOpenAxes {
 public:
  NormOpenAxes(const Problem& p, const Ports& ports, bool by_channel) : open_(ports) {
    for (int i : p.dynamic()) fixed_.push_back(!by_channel && i > 0 && i < static_cast<int>(p.arity()));
  }
  bool operator()(size_t port, size_t axis) const { return !(port < fixed_.size() && fixed_[port]) && open_(port, axis); }

 private:
  OpenAxes open_;
  std::vector<char> fixed_;
};

constexpr const char* kNormalisations[] = {"layer_norm", "rms_norm",      "mean_variance_norm",
                                           "lp_norm",    "instance_norm", "group_norm"};

// Mean and sum of several parts, each of so many elements, added up in double in the order of the parts.
struct Statistics {
  double mean = 0, sum = 0, count = 0;
  // Those of n more elements.
  void add(double n, double their_mean, double their_sum) noexcept {
    const double d = their_mean - mean, both = count + n;
    mean += d * n / both;
    sum += their_sum + d * d * (count * n / both);
    count = both;
  }
  float high() const { return static_cast<float>(mean); }
  float low() const { return static_cast<float>(mean - static_cast<double>(high())); }
};

}  // namespace pw
