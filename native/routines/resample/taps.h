// What the routines of resample share: the elements of the input, with weights, that make each element along an axis. Source:
// ONNX Resize; layers/resample.py and layers/resize.py say the same in NumPy.
#pragma once
#include <algorithm>
#include <cmath>
#include <string>
#include <string_view>
#include <vector>

#include "values/strided.h"
#include "values/tables.h"

namespace pw {

// Of one resampled axis: output o is the sum of `count` elements index[o * count + k], times weight[o * count + k].
struct Taps {
  int axis = 0;  // logical
  int64_t length = 0, out = 0, count = 1;
  std::vector<int64_t> index;
  std::vector<float> weight;     // empty where count is 1: an element as it is
  std::vector<int64_t> outside;  // outputs that lie outside of the region that is cropped
};

// The axes that change, in logical order.
class Resampling {
 public:
  explicit Resampling(const Problem& p) : p_(p), rank_(p.in[0].shape.size()), axes_(p.integers("axes")) {
    if (axes_.empty())
      for (size_t a = 0; a < rank_; ++a) axes_.push_back(static_cast<int64_t>(a));
    for (int64_t& a : axes_) a = a < 0 ? a + static_cast<int64_t>(rank_) : a;
    crops_ = p.word("coordinates") == "tf_crop_and_resize";
    find_scales();
  }

  std::vector<int> axes() const {
    std::vector<int> found;
    for (size_t i = 0; i < axes_.size(); ++i)
      if (changes(i)) found.push_back(static_cast<int>(axes_[i]));
    std::sort(found.begin(), found.end());
    return found;
  }

  // Entries of all tables together.
  int64_t entries() const {
    int64_t n = 0;
    for (size_t i = 0; i < axes_.size(); ++i)
      if (changes(i)) n += saturated(out(i), static_cast<int64_t>(2 * std::ceil(reach(i)) + 1));
    return n;
  }

  Taps taps(int axis) const {
    const size_t i = static_cast<size_t>(std::find(axes_.begin(), axes_.end(), axis) - axes_.begin());
    Taps t;
    t.axis = axis;
    t.length = length(i);
    t.out = out(i);
    if (p_.word("mode") == "nearest") nearest(i, t);
    else filtered(i, t);
    if (crops_)
      for (int64_t o = 0; o < t.out; ++o) {
        const double at = place(i, o);
        if (at < 0 || at > static_cast<double>(t.length - 1)) t.outside.push_back(o);
      }
    return t;
  }

 private:
  int64_t length(size_t i) const { return p_.in[0].shape[static_cast<size_t>(axes_[i])]; }
  int64_t out(size_t i) const { return p_.out[0].shape[static_cast<size_t>(axes_[i])]; }
  bool changes(size_t i) const { return crops_ || length(i) != out(i) || scales_[i] != 1.0f; }

  void find_scales() {
    for (double s : p_.numbers("scale")) scales_.push_back(static_cast<float>(s));
    if (scales_.empty()) {
      const auto wanted = p_.integers("size");
      for (size_t i = 0; i < axes_.size(); ++i)
        scales_.push_back(length(i) == 0 ? 1.0f : static_cast<float>(wanted[i]) / static_cast<float>(length(i)));
      const auto policy = p_.word("policy");
      if (policy == "not_larger") std::fill(scales_.begin(), scales_.end(), *std::min_element(scales_.begin(), scales_.end()));
      if (policy == "not_smaller") std::fill(scales_.begin(), scales_.end(), *std::max_element(scales_.begin(), scales_.end()));
    }
    for (double v : p_.numbers("roi")) roi_.push_back(v);
    if (roi_.empty()) {
      roi_.assign(axes_.size(), 0.0);
      roi_.resize(2 * axes_.size(), 1.0);
    }
  }

  // Where output o lies; in float32 as the layer's meaning has it, but for the coordinates that it computes in float64.
  double place(size_t i, int64_t o) const {
    const auto coordinates = p_.word("coordinates");
    const float at = static_cast<float>(o), scale = scales_[i];
    const int64_t n = out(i), l = length(i);
    if (coordinates == "half_pixel_symmetric") {
      const double s = scale, length = static_cast<double>(l), adjustment = static_cast<double>(n) / (s * length);
      return length / 2 * (1 - adjustment) + (static_cast<double>(o) + 0.5) / s - 0.5;
    }
    if (crops_) {
      const double start = roi_[i], end = roi_[i + axes_.size()], last = static_cast<double>(l - 1);
      if (n == 1) return 0.5 * (start + end) * last;
      return start * last + static_cast<double>(o) * (end - start) * last / static_cast<double>(n - 1);
    }
    if (coordinates == "asymmetric") return at / scale;
    if (coordinates == "align_corners")
      return at * static_cast<float>(l - 1) / static_cast<float>(std::max<int64_t>(n - 1, 1));
    if (coordinates == "pytorch_half_pixel" && n == 1) return 0;
    return (at + 0.5f) / scale - 0.5f;
  }

  double stretch(size_t i) const {
    return p_.integer("antialias") ? std::min(static_cast<double>(scales_[i]), 1.0) : 1.0;
  }
  double reach(size_t i) const {
    const auto mode = p_.word("mode");
    return mode == "nearest" ? 0.0 : (mode == "linear" ? 1 : 2) / stretch(i);
  }

  static int64_t inside(double index, int64_t length) {
    return static_cast<int64_t>(std::clamp(index, 0.0, static_cast<double>(length - 1)));
  }

  void nearest(size_t i, Taps& t) const {
    const auto rounding = p_.word("rounding");
    for (int64_t o = 0; o < t.out; ++o) {
      const double at = place(i, o);
      t.index.push_back(inside(rounding == "floor" ? std::floor(at) : rounding == "ceil" ? std::ceil(at)
                               : rounding == "round_prefer_ceil" ? std::floor(at + 0.5) : std::ceil(at - 0.5), t.length));
    }
  }

  void filtered(size_t i, Taps& t) const {
    const double stretched = stretch(i), width = reach(i), a = p_.number("cubic_a");
    const bool cubic = p_.word("mode") == "cubic", inner = p_.integer("exclude_outside") != 0;
    const int64_t first = static_cast<int64_t>(std::floor(-width)) + 1, last = static_cast<int64_t>(std::ceil(width));
    t.count = last - first + 1;
    std::vector<double> w(static_cast<size_t>(t.count));
    for (int64_t o = 0; o < t.out; ++o) {
      const double at = place(i, o), below = std::floor(at);
      double sum = 0;
      for (int64_t k = 0; k < t.count; ++k) {
        const double index = below + static_cast<double>(first + k), d = std::abs(index - at) * stretched;
        double weight = std::max(0.0, 1 - d);
        if (cubic)
          weight = d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
        if (inner && (index < 0 || index >= static_cast<double>(t.length))) weight = 0;
        w[static_cast<size_t>(k)] = weight;
        sum += weight;
        t.index.push_back(inside(index, t.length));
      }
      const bool scaled = inner || p_.integer("antialias");
      for (double weight : w) t.weight.push_back(static_cast<float>(scaled ? weight / sum : weight));
    }
  }

  const Problem& p_;
  size_t rank_;
  std::vector<int64_t> axes_;
  std::vector<float> scales_;
  std::vector<double> roi_;
  bool crops_;
};

// What every routine of resample asks of a problem.
inline Verdict accepts_resampling(const Problem& p) {
  if (p.in.size() != 1 || p.dynamic().size() != 1) return Verdict::no("it takes one value, and sizes as attributes");
  if (p.in[0].count() == 0 || p.out[0].count() == 0) return Verdict::no("a tensor is empty");
  return fits_table(p, Resampling(p).entries(), 12);
}

}  // namespace pw
