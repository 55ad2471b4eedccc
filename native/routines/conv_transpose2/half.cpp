// conv_transpose2/direct in bf16, bf16x2, bf16x3 and f16 on a matrix unit: each phase of the output is a convolution of stride
// 1, whose pixels are stored a stride apart.
#include "products/half.h"
#include "routines/conv_transpose2/geometry.h"

namespace pw {
namespace {

// The phases one after another, without waiting: each writes outputs of its own and has a workspace of its own.
class TransposedHalfKernel : public Kernel {
 public:
  explicit TransposedHalfKernel(std::vector<std::unique_ptr<Kernel>> phases) : phases_(std::move(phases)) {}
  size_t workspace_bytes() const override {
    size_t bytes = 0;
    for (const auto& k : phases_) bytes += area(*k);
    return bytes;
  }
  size_t packed_bytes() const override {
    size_t bytes = 0;
    for (const auto& k : phases_) bytes += k->packed_bytes();
    return bytes;
  }
  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    auto* own = static_cast<char*>(workspace);
    for (const auto& k : phases_) {
      k->run(in, out, own, team);
      own += area(*k);
    }
  }

 private:
  static size_t area(const Kernel& k) { return (k.workspace_bytes() + 63) / 64 * 64; }

  std::vector<std::unique_ptr<Kernel>> phases_;
};

// A phase's taps are those of a kernel with even steps: they are multiples of strides and dilations.
Geometry convolution_of(const TransposedGeometry& t, const Phase& f) {
  int64_t rows = 1;
  for (size_t i = 1; i < f.taps.size(); ++i) rows += f.taps[i].y != f.taps[i - 1].y;
  const int64_t columns = static_cast<int64_t>(f.taps.size()) / rows;
  const Tap &first = f.taps.front(), &last = f.taps.back();
  Geometry g;
  g.images = t.images, g.inputs = t.inputs, g.height = t.height, g.width = t.width;
  g.outputs = t.outputs, g.kernel_height = rows, g.kernel_width = columns;
  g.out_height = f.height, g.out_width = f.width;
  g.stride_y = g.stride_x = 1, g.groups = t.groups;
  g.dilation_y = rows > 1 ? (last.y - first.y) / (rows - 1) : 1;
  g.dilation_x = columns > 1 ? (last.x - first.x) / (columns - 1) : 1;
  // Negative where the phase begins inside of x.
  g.pad_top = last.y - f.base_y;
  g.pad_left = last.x - f.base_x;
  return g;
}

class TransposedHalf : public HalfRoutine {
 public:
  explicit TransposedHalf(const HalfForms& forms)
      : HalfRoutine("conv_transpose2/direct", Layout::nhwc, Layout::nhwc, forms) {}
  Verdict accepts(const Problem& p) const override {
    if (Verdict v = accepts_convolution(p, Layout::nhwc, Layout::nhwc, kind()); !v) return v;
    const TransposedGeometry g(p);
    // Each phase brings x to the unit anew, and fills whole tiles of outputs.
    if (g.phase_count() > kMostPhases)
      return Verdict::no("there are " + std::to_string(g.phase_count()) + " phases, more than " + std::to_string(kMostPhases));
    if (Verdict v = g.few_taps_outside(); !v) return v;
    for (const Phase& f : g.phases())
      if (f.taps.empty()) return Verdict::no("some outputs are reached by no tap");
    return has_kernel(p);
  }
  Estimate estimate(const Problem& p, const std::string&) const override {
    const TransposedGeometry t(p);
    Estimate all;
    for (const Phase& f : t.phases()) {
      const Estimate one = half_estimate(convolution_of(t, f), forms_, false);
      const double work = all.work < 0 ? 0 : all.work, constants = all.constants < 0 ? 0 : all.constants;
      all.add(one.operations, 1);
      all.work = work + one.work;
      all.constants = constants + one.constants;
      all.moved[0].bytes += one.moved[0].bytes;
      all.moved[0].room = one.moved[0].room;
      all.unit = one.unit;
    }
    return all;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    const TransposedGeometry t(p);
    std::vector<std::unique_ptr<Kernel>> kernels;
    for (const Phase& f : t.phases()) {
      const Geometry g = convolution_of(t, f);
      // [inputs, outputs of a group, kernel height, kernel width], the taps in reverse.
      const int64_t all = t.kernel_height * t.kernel_width, outputs = g.group_outputs();
      HalfWeights w{c[1], g.group_inputs() * outputs * all, all, outputs * all, {}, "/transposed"};
      for (auto tap = f.taps.rbegin(); tap != f.taps.rend(); ++tap) {
        w.taps.push_back(tap->index);
        w.name += "/" + std::to_string(tap->index);
      }
      kernels.push_back(half_convolution(
          {g, forms_, w, {}, bias_of(p, c), *epilogue_activation(p), p.epilogue.add, p.threads,
           f.first_y * t.out_width + f.first_x, t.stride_x, t.stride_y * t.out_width, t.out_height * t.out_width},
          {false, false, false}, half_kernel(forms_.part, variant)));
    }
    return std::make_unique<TransposedHalfKernel>(std::move(kernels));
  }

 private:
  static constexpr int64_t kMostPhases = 64;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { collect_half<TransposedHalf>(c, true); }
}  // namespace PW_COLLECT
}  // namespace pw
