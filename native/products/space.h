// Convolutions over up to three axes of space, either way, taken apart into phases whose outputs see the same taps.
#pragma once
#include <string>
#include <vector>

#include "products/matrix.h"

namespace pw {

constexpr int kSpace = 3;

// Shapes and attributes of conv2, depthwise_conv2, conv3, conv_transpose2 and conv_transpose3. Axes that a kind does not have
// come first and are of length 1.
struct SpaceGeometry {
  int64_t images, inputs, outputs, groups;
  int64_t in[kSpace], out[kSpace], kernel[kSpace], stride[kSpace], pad[kSpace], dilation[kSpace];
  bool transposed;

  explicit SpaceGeometry(const Problem& p);
  int64_t group_inputs() const { return inputs / groups; }
  int64_t group_outputs() const { return outputs / groups; }
  int64_t taps() const { return kernel[0] * kernel[1] * kernel[2]; }
  int64_t in_pixels() const { return in[0] * in[1] * in[2]; }
  int64_t out_pixels() const { return out[0] * out[1] * out[2]; }
  bool depthwise() const { return group_inputs() == 1 && group_outputs() == 1 && groups > 1; }
  // Where weight (output, input, tap) of a group lies among those of the layer.
  int64_t weight(int64_t group, int64_t output, int64_t input, int64_t tap) const {
    const int64_t row = transposed ? (group * group_inputs() + input) * group_outputs() + output
                                   : (group * group_outputs() + output) * group_inputs() + input;
    return row * taps() + tap;
  }
  // What packed weights depend on beside their contents.
  std::string text() const;
};

// The outputs first, first + step, ... of an axis: number i sees element i * pace + shift of the input through each tap.
struct PhaseAxis {
  int64_t first, step, count, pace;
  std::vector<int64_t> taps, shifts;  // of one entry where no tap meets an element: tap -1, far outside
};

// Outputs that see the same taps, at distances that are the same everywhere.
struct Phase {
  PhaseAxis axis[kSpace];
  int64_t taps = 1;                // of the phase
  int64_t pixels = 1;              // outputs of one image
  std::vector<int64_t> tap;        // the kernel's, -1 for none; the last axis innermost
  std::vector<int64_t> offset;     // pixels from that of shift 0 to what the tap sees, inside of the image
  bool inside(const SpaceGeometry& g, const int64_t* at) const {
    for (int a = 0; a < kSpace; ++a)
      if (at[a] + low[a] < 0 || at[a] + high[a] >= g.in[a]) return false;
    return true;
  }
  int64_t low[kSpace], high[kSpace];  // the least and the largest shift
};

// The phases of a convolution: one, or as many as strides make where it is transposed.
std::vector<Phase> phases_of(const SpaceGeometry& g);
// How many there are.
int64_t phase_count(const SpaceGeometry& g);

// Walks over the outputs of a phase in order.
class PhaseWalk {
 public:
  PhaseWalk(const SpaceGeometry& g, const Phase& phase, int64_t row) : g_(g), phase_(phase), image_(row / phase.pixels) {
    int64_t rest = row % phase.pixels;
    for (int a = kSpace; a-- > 0; rest /= phase.axis[a].count) index_[a] = rest % phase.axis[a].count;
  }
  void next() {
    for (int a = kSpace; a-- > 0;) {
      if (++index_[a] < phase_.axis[a].count) return;
      index_[a] = 0;
    }
    ++image_;
  }
  int64_t image() const { return image_; }
  // Places in the input that a tap of shift 0 sees.
  void places(int64_t* at) const {
    for (int a = 0; a < kSpace; ++a) at[a] = index_[a] * phase_.axis[a].pace;
  }
  // The output's pixel, counted through the images.
  int64_t pixel() const {
    int64_t at = image_;
    for (int a = 0; a < kSpace; ++a) at = at * g_.out[a] + phase_.axis[a].first + index_[a] * phase_.axis[a].step;
    return at;
  }
  // Calls body(tap of the phase, pixel of the image or -1) for every tap.
  template <class Body>
  void each_tap(Body&& body) const {
    int64_t at[kSpace];
    places(at);
    if (phase_.inside(g_, at)) {
      const int64_t base = (at[0] * g_.in[1] + at[1]) * g_.in[2] + at[2];
      for (int64_t t = 0; t < phase_.taps; ++t) body(t, base + phase_.offset[static_cast<size_t>(t)]);
      return;
    }
    int64_t t = 0;
    for (int64_t s0 : phase_.axis[0].shifts) {
      const int64_t i0 = at[0] + s0;
      const bool in0 = i0 >= 0 && i0 < g_.in[0];
      for (int64_t s1 : phase_.axis[1].shifts) {
        const int64_t i1 = at[1] + s1;
        const bool in1 = in0 && i1 >= 0 && i1 < g_.in[1];
        for (int64_t s2 : phase_.axis[2].shifts) {
          const int64_t i2 = at[2] + s2;
          body(t++, in1 && i2 >= 0 && i2 < g_.in[2] ? (i0 * g_.in[1] + i1) * g_.in[2] + i2 : -1);
        }
      }
    }
  }

 private:
  const SpaceGeometry& g_;
  const Phase& phase_;
  int64_t image_, index_[kSpace];
};

// What the routines of these kinds ask that compute in f32: x and the residual are values, nothing is empty, channels fit the
// groups, and there are not too many phases. Weights and bias may be values.
Verdict accepts_space(const Problem& p, const std::string& applying);

// Their ports: x, the output and the residual with the channels last, weights and bias in the order of rows.
Ports space_ports(const Problem& p);

}  // namespace pw
