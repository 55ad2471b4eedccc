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

enum class Coordinates { half_pixel, half_pixel_symmetric, asymmetric, align_corners, pytorch_half_pixel, crop };
inline Coordinates coordinates_of(const Problem& p) {
  const auto word = p.word("coordinates");
  return word == "half_pixel_symmetric" ? Coordinates::half_pixel_symmetric : word == "asymmetric" ? Coordinates::asymmetric
         : word == "align_corners" ? Coordinates::align_corners : word == "pytorch_half_pixel" ? Coordinates::pytorch_half_pixel
         : word == "tf_crop_and_resize" ? Coordinates::crop : Coordinates::half_pixel;
}

// Where output o of n lies in an axis of that length; in float32 as the layer's meaning has it, but for the coordinates that
// it computes in float64. Nothing is cropped.
inline double place_of(Coordinates coordinates, int64_t o, float scale, int64_t n, int64_t length) noexcept {
  const float at = static_cast<float>(o);
  if (coordinates == Coordinates::half_pixel_symmetric) {
    const double s = scale, l = static_cast<double>(length), adjustment = static_cast<double>(n) / (s * l);
    return l / 2 * (1 - adjustment) + (static_cast<double>(o) + 0.5) / s - 0.5;
  }
  if (coordinates == Coordinates::asymmetric) return at / scale;
  if (coordinates == Coordinates::align_corners)
    return at * static_cast<float>(length - 1) / static_cast<float>(std::max<int64_t>(n - 1, 1));
  if (coordinates == Coordinates::pytorch_half_pixel && n == 1) return 0;
  return (at + 0.5f) / scale - 0.5f;
}

enum class Rounding { floor, ceil, prefer_ceil, prefer_floor };
inline Rounding rounding_of(const Problem& p) {
  const auto word = p.word("rounding");
  return word == "floor" ? Rounding::floor : word == "ceil" ? Rounding::ceil
         : word == "round_prefer_ceil" ? Rounding::prefer_ceil : Rounding::prefer_floor;
}
inline double rounded(Rounding rounding, double at) noexcept {
  return rounding == Rounding::floor ? std::floor(at) : rounding == Rounding::ceil ? std::ceil(at)
         : rounding == Rounding::prefer_ceil ? std::floor(at + 0.5) : std::ceil(at - 0.5);
}

inline int64_t inside_of(double index, int64_t length) noexcept {
  return static_cast<int64_t>(std::clamp(index, 0.0, static_cast<double>(length - 1)));
}
inline double linear_weight(double d) noexcept { return std::max(0.0, 1 - d); }
inline double cubic_weight(double d, double a) noexcept {
  return d <= 1 ? ((a + 2) * d - (a + 3)) * d * d + 1 : d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0;
}

// The axes that change, in logical order.
class Resampling {
 public:
  explicit Resampling(const Problem& p) : p_(p), rank_(p.in[0].shape.size()), axes_(p.integers("axes")) {
    if (axes_.empty())
      for (size_t a = 0; a < rank_; ++a) axes_.push_back(static_cast<int64_t>(a));
    for (int64_t& a : axes_) a = a < 0 ? a + static_cast<int64_t>(rank_) : a;
    coordinates_ = coordinates_of(p);
    crops_ = coordinates_ == Coordinates::crop;
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

  // How many elements of an axis make one.
  int64_t terms(int axis) const {
    const size_t i = position(axis);
    return p_.word("mode") == "nearest" ? 1 : last_term(i) - first_term(i) + 1;
  }

  Taps taps(int axis) const {
    const size_t i = position(axis);
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
  size_t position(int axis) const {
    return static_cast<size_t>(std::find(axes_.begin(), axes_.end(), axis) - axes_.begin());
  }
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

  double place(size_t i, int64_t o) const {
    const int64_t n = out(i), l = length(i);
    if (!crops_) return place_of(coordinates_, o, scales_[i], n, l);
    const double start = roi_[i], end = roi_[i + axes_.size()], last = static_cast<double>(l - 1);
    if (n == 1) return 0.5 * (start + end) * last;
    return start * last + static_cast<double>(o) * (end - start) * last / static_cast<double>(n - 1);
  }

  double stretch(size_t i) const {
    return p_.integer("antialias") ? std::min(static_cast<double>(scales_[i]), 1.0) : 1.0;
  }
  double reach(size_t i) const {
    const auto mode = p_.word("mode");
    return mode == "nearest" ? 0.0 : (mode == "linear" ? 1 : 2) / stretch(i);
  }

  // Of the elements that make one, beside the one below its place.
  int64_t first_term(size_t i) const { return static_cast<int64_t>(std::floor(-reach(i))) + 1; }
  int64_t last_term(size_t i) const { return static_cast<int64_t>(std::ceil(reach(i))); }

  void nearest(size_t i, Taps& t) const {
    const Rounding rounding = rounding_of(p_);
    for (int64_t o = 0; o < t.out; ++o) t.index.push_back(inside_of(rounded(rounding, place(i, o)), t.length));
  }

  void filtered(size_t i, Taps& t) const {
    const double stretched = stretch(i), a = p_.number("cubic_a");
    const bool cubic = p_.word("mode") == "cubic", inner = p_.integer("exclude_outside") != 0;
    const int64_t first = first_term(i);
    t.count = last_term(i) - first + 1;
    std::vector<double> w(static_cast<size_t>(t.count));
    for (int64_t o = 0; o < t.out; ++o) {
      const double at = place(i, o), below = std::floor(at);
      double sum = 0;
      for (int64_t k = 0; k < t.count; ++k) {
        const double index = below + static_cast<double>(first + k), d = std::abs(index - at) * stretched;
        double weight = cubic ? cubic_weight(d, a) : linear_weight(d);
        if (inner && (index < 0 || index >= static_cast<double>(t.length))) weight = 0;
        w[static_cast<size_t>(k)] = weight;
        sum += weight;
        t.index.push_back(inside_of(index, t.length));
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
  Coordinates coordinates_ = Coordinates::half_pixel;
  bool crops_;
};

// What every routine of resample asks of a problem.
inline Verdict accepts_resampling(const Problem& p) {
  if (p.in.size() != 1 || p.dynamic().size() != 1) return Verdict::no("it takes one value, and sizes as attributes");
  if (p.in[0].count() == 0 || p.out[0].count() == 0) return Verdict::no("a tensor is empty");
  return fits_table(p, Resampling(p).entries(), 12);
}

}  // namespace pw
