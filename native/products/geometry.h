// Shapes of a convolution problem, and the conditions that all its routines share.
#pragma once
#include <string>

#include "products/matrix.h"

namespace pw {

struct Geometry {
  int64_t images, inputs, height, width;           // of x
  int64_t outputs, kernel_height, kernel_width;    // of w
  int64_t out_height, out_width;
  int64_t stride_y, stride_x, pad_top, pad_left, dilation_y, dilation_x, groups;

  Geometry() = default;
  explicit Geometry(const Problem& p) {
    const auto& x = p.in[0].shape;
    const auto& w = p.in[1].shape;
    const auto& y = p.out[0].shape;
    images = x[0], inputs = x[1], height = x[2], width = x[3];
    outputs = w[0], kernel_height = w[2], kernel_width = w[3];
    out_height = y[2], out_width = y[3];
    const auto stride = p.integers("stride"), pad = p.integers("pad"), dilation = p.integers("dilation");
    stride_y = stride[0], stride_x = stride[1], pad_top = pad[0], pad_left = pad[1];
    dilation_y = dilation[0], dilation_x = dilation[1];
    groups = p.kind == "conv2" ? p.integer("groups") : 1;
  }
  int64_t taps() const { return kernel_height * kernel_width; }
  int64_t in_pixels() const { return height * width; }
  int64_t out_pixels() const { return out_height * out_width; }
  int64_t group_inputs() const { return inputs / groups; }
  int64_t group_outputs() const { return outputs / groups; }
  // The pixels under a row of the kernel are one run of a channels-last image, and hold so few channels that the run is worth
  // more than pixels taken one by one.
  bool few_channels_in_runs() const { return groups == 1 && dilation_x == 1 && kernel_width > 1 && inputs <= 32; }
  bool pads() const {
    return pad_top > 0 || pad_left > 0 ||
           (out_height - 1) * stride_y + (kernel_height - 1) * dilation_y - pad_top >= height ||
           (out_width - 1) * stride_x + (kernel_width - 1) * dilation_x - pad_left >= width;
  }
};

// accepts_weights, and layouts that fit.
inline Verdict accepts_convolution(const Problem& p, Layout in, Layout out,
                                   const std::string& applying = PW_KIND_GEMM_F32) {
  if (Verdict v = accepts_weights(p, applying); !v) return v;
  if (p.in[0].shape.size() != 4 || p.in[1].shape.size() != 4) return Verdict::no("x or the weights are not of rank 4");
  if (p.out[0].shape.size() != 4) return Verdict::no("the output is not of rank 4");
  if (p.in[1].count() == 0) return Verdict::no("the weights are empty");
  const int64_t groups = p.word("groups").empty() ? 1 : p.integer("groups");
  if (p.in[0].shape[1] % groups != 0 || p.out[0].shape[1] % groups != 0)
    return Verdict::no("channels are no multiple of the groups");
  if (!fits(in, p.in[0].shape)) return Verdict::no(std::string("the input's channels do not fit ") + text(in));
  if (!fits(out, p.out[0].shape)) return Verdict::no(std::string("the output's channels do not fit ") + text(out));
  return Verdict::ok();
}

// Ports of a convolution: x in layout `in`, output and residual in layout `out`.
inline Ports convolution_ports(const Problem& p, Layout in, Layout out, DType dtype = DType::f32) {
  Ports ports = uniform_ports(p, out, dtype);
  ports.in[0].layout = in;
  return ports;
}

// The residual among the dynamic inputs of a convolution (x comes first), or null.
inline const float* residual_of(const Problem& p, const void* const* in) {
  return p.epilogue.add ? static_cast<const float*>(in[1]) : nullptr;
}

// Base of the convolutions that take an epilogue: x in layout `in`, output and residual in layout `out`, all in `dtype`.
class ConvolutionRoutine : public Routine {
 public:
  Verdict accepts(const Problem& p) const final {
    if (Verdict v = accepts_convolution(p, in_, out_, applying_); !v) return v;
    return suits(p, Geometry(p));
  }
  Ports ports(const Problem& p) const override { return convolution_ports(p, in_, out_, dtype_); }

 protected:
  ConvolutionRoutine(const std::string& id, Layout in, Layout out, Accuracy accuracy = Accuracy::strict,
                     DType dtype = DType::f32)
      : Routine({.id = id, .accuracy = accuracy, .takes_epilogue = true}), in_(in), out_(out), dtype_(dtype) {}
  // What this one asks beyond accepts_convolution.
  virtual Verdict suits(const Problem& p, const Geometry& g) const = 0;
  Layout in_, out_;
  DType dtype_;
  std::string applying_ = PW_KIND_GEMM_F32;  // kind of the micro-kernels that apply the epilogue
};

// A tile of outputs of one row, all taps of which are pixels or rows of the kernel that lie within the image: pointers to
// them move on alike from one such tile to the next.
struct InsideTile {
  int64_t row = 0, rows = 0, ox = 0;  // the first output, how many, and its place in its line; rows 0: there is none

  // Whether `count` outputs from `at` on are the next such tile, of as many rows.
  bool is_before(int64_t at, int64_t count, const Geometry& g) const {
    const int64_t last = (ox + 2 * rows - 1) * g.stride_x - g.pad_left;
    return rows == count && row + rows == at && ox + 2 * rows <= g.out_width &&
           last + (g.kernel_width - 1) * g.dilation_x < g.width;
  }
};

// Whether the outputs of each phase of a transposed convolution, `positions` of them, meet its taps mostly inside of an image of
// so many pixels; small ones always do.
inline Verdict taps_meet_image(double positions, double pixels, double taps) {
  constexpr double kMost = 256, kSmall = 1 << 22;
  if (positions * taps <= kSmall || positions <= kMost * pixels) return Verdict::ok();
  return Verdict::no("nearly all taps of an output lie outside of the image");
}

}  // namespace pw
