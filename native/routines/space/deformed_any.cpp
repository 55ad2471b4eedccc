// deform_conv2: what the taps see, between the elements of the image, is put side by side, a tile of outputs at a time, and
// multiplied. Channels lie last in the image, in the offsets and in the mask.
#include <cmath>

#include "products/matrix.h"
#include "values/operands.h"

namespace pw {
namespace {

struct Deformed {
  int64_t images, inputs, height, width, outputs, kernel_height, kernel_width, out_height, out_width, groups, parts;
  int64_t stride[2], pad[2], dilation[2];
  explicit Deformed(const Problem& p) {
    const Dims &x = p.in[0].shape, &w = p.in[1].shape, &y = p.out[0].shape;
    images = x[0], inputs = x[1], height = x[2], width = x[3];
    outputs = w[0], kernel_height = w[2], kernel_width = w[3];
    out_height = y[2], out_width = y[3];
    groups = p.integer("groups"), parts = p.integer("offset_groups");
    const auto s = p.integers("stride"), q = p.integers("pad"), d = p.integers("dilation");
    for (size_t i = 0; i < 2; ++i) stride[i] = s[i], pad[i] = q[i], dilation[i] = d[i];
  }
  int64_t taps() const { return kernel_height * kernel_width; }
  int64_t pixels() const { return out_height * out_width; }
  int64_t depth() const { return inputs / groups * taps(); }
};

class DeformedKernel : public Kernel {
 public:
  DeformedKernel(const Problem& p, const std::string& variant, const Constants& constants)
      : g_(p), operands_(p, constants), kernel_(&gemm_kernel(variant)), act_(*epilogue_activation(p)),
        has_bias_(p.has(3)), has_mask_(p.has(4)) {
    panels_ = divide_up(g_.outputs / g_.groups, kernel_->columns);
    panel_floats_ = g_.depth() * kernel_->columns;
    packs_ = !p.in[1].constant || (has_bias_ && !p.in[3].constant);
    if (!packs_) {
      const size_t bytes = static_cast<size_t>(g_.groups * panels_ * panel_floats_) * 4;
      const auto* w = constants[1].as<float>();
      weights_ = shared_packing(constants[1].id, "deformed/" + std::to_string(g_.groups) + "/" + std::to_string(kernel_->columns), [&] {
        Buffer packed(bytes);
        for (int64_t i = 0; i < g_.groups * panels_; ++i) pack_panel(w, i, packed.as<float>() + i * panel_floats_);
        return packed;
      }, bytes);
      bias_ = Buffer(static_cast<size_t>(bias_floats()) * 4);
      for (int64_t i = 0; i < g_.groups; ++i) pack_bias_of(has_bias_ ? constants[3].as<float>() : nullptr, i, bias_.as<float>());
    } else {
      packed_floats_ = round_up(g_.groups * panels_ * panel_floats_ + bias_floats(), 16);
    }
    areas_ = {round_up(kernel_->rows * g_.taps() * g_.inputs * 4, 64), p.threads};
  }

  int64_t phases() const override { return packs_ ? 2 : 1; }
  size_t workspace_bytes() const override { return static_cast<size_t>(packed_floats_) * 4 + areas_.total(); }
  size_t packed_bytes() const override { return (weights_ ? weights_->bytes() : 0) + bias_.bytes(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    auto* packed = static_cast<float*>(workspace);
    float* packed_bias = packed + g_.groups * panels_ * panel_floats_;
    if (packs_ && team.phase == 0) {
      const auto* w = operands_.get<float>(1, in);
      const float* bias = has_bias_ ? operands_.get<float>(3, in) : nullptr;
      team.each(g_.groups * panels_, 1, [&](int64_t i, int64_t) {
        pack_panel(w, i, packed + i * panel_floats_);
        if (i % panels_ == 0) pack_bias_of(bias, i / panels_, packed_bias);
      });
      return;
    }
    const auto* x = operands_.get<float>(0, in);
    const auto* offset = operands_.get<float>(2, in);
    const float* mask = has_mask_ ? operands_.get<float>(4, in) : nullptr;
    const float* panels = packs_ ? packed : weights_->as<float>();
    const float* bias = packs_ ? packed_bias : bias_.as<float>();
    float* rows = areas_.own<float>(packed + packed_floats_, team);
    auto* y = static_cast<float*>(out[0]);
    const int64_t pixels = g_.images * g_.pixels();
    team.each(pixels, kernel_->rows, [&](int64_t first, int64_t last) {
      for (int64_t p = first; p < last; ++p) gather(x, offset, mask, p, p - first, rows);
      multiply(rows, panels, bias, first, last - first, y);
    });
  }

 private:
  int64_t bias_floats() const { return g_.groups * panels_ * kernel_->columns; }

  // Rows in the order (tap, channel).
  void pack_panel(const float* w, int64_t index, float* to) const {
    const int64_t group = index / panels_, first = index % panels_ * kernel_->columns, tile = kernel_->columns;
    const int64_t outputs = g_.outputs / g_.groups, inputs = g_.inputs / g_.groups, taps = g_.taps();
    for (int64_t c = 0; c < tile; ++c)
      for (int64_t t = 0; t < taps; ++t)
        for (int64_t i = 0; i < inputs; ++i)
          to[(t * inputs + i) * tile + c] =
              first + c < outputs ? w[((group * outputs + first + c) * inputs + i) * taps + t] : 0.0f;
  }
  void pack_bias_of(const float* bias, int64_t group, float* to) const {
    const int64_t padded = panels_ * kernel_->columns, outputs = g_.outputs / g_.groups;
    for (int64_t i = 0; i < padded; ++i) to[group * padded + i] = bias && i < outputs ? bias[group * outputs + i] : 0.0f;
  }

  // What output `pixel` sees: for each group its row, [tap, channel of the group].
  void gather(const float* x, const float* offset, const float* mask, int64_t pixel, int64_t row, float* rows) const {
    const int64_t taps = g_.taps(), at = pixel % g_.pixels(), share = g_.inputs / g_.parts, inputs = g_.inputs / g_.groups;
    const float* image = x + pixel / g_.pixels() * g_.height * g_.width * g_.inputs;
    const int64_t y0 = at / g_.out_width * g_.stride[0] - g_.pad[0], x0 = at % g_.out_width * g_.stride[1] - g_.pad[1];
    const float* moved = offset + pixel * g_.parts * taps * 2;
    const float* weight = mask ? mask + pixel * g_.parts * taps : nullptr;
    for (int64_t part = 0; part < g_.parts; ++part)
      for (int64_t t = 0; t < taps; ++t) {
        const int64_t i = part * taps + t;
        const double down = static_cast<double>(y0 + t / g_.kernel_width * g_.dilation[0]) + static_cast<double>(moved[2 * i]);
        const double across = static_cast<double>(x0 + t % g_.kernel_width * g_.dilation[1]) + static_cast<double>(moved[2 * i + 1]);
        const float* corner[4];
        float share_of[4];
        const int count = corners(image, down, across, weight ? weight[i] : 1.0f, corner, share_of);
        for (int64_t c = part * share; c < (part + 1) * share;) {
          const int64_t group = c / inputs, n = std::min((part + 1) * share, (group + 1) * inputs) - c;
          float* to = rows + (group * kernel_->rows + row) * g_.depth() + t * inputs + c % inputs;
          mix(corner, share_of, count, c, n, to);
          c += n;
        }
      }
  }
  // The elements around a place, with their shares; as many as lie inside of the image.
  int corners(const float* image, double down, double across, float weight, const float** corner, float* share) const {
    if (!(down > -1 && down < static_cast<double>(g_.height) && across > -1 && across < static_cast<double>(g_.width))) return 0;
    const double top = std::floor(down), left = std::floor(across), dy = down - top, dx = across - left;
    const auto r = static_cast<int64_t>(top), c = static_cast<int64_t>(left);
    int count = 0;
    for (int64_t i = 0; i < 2; ++i)
      for (int64_t j = 0; j < 2; ++j) {
        if (r + i < 0 || r + i >= g_.height || c + j < 0 || c + j >= g_.width) continue;
        corner[count] = image + ((r + i) * g_.width + c + j) * g_.inputs;
        share[count++] = static_cast<float>((i ? dy : 1 - dy) * (j ? dx : 1 - dx)) * weight;
      }
    return count;
  }
  static void mix(const float* const* corner, const float* share, int count, int64_t first, int64_t n, float* to) {
    if (count == 4) {
      const float *a = corner[0] + first, *b = corner[1] + first, *c = corner[2] + first, *d = corner[3] + first;
      for (int64_t i = 0; i < n; ++i) to[i] = share[0] * a[i] + share[1] * b[i] + (share[2] * c[i] + share[3] * d[i]);
      return;
    }
    for (int64_t i = 0; i < n; ++i) {
      float sum = 0;
      for (int k = 0; k < count; ++k) sum += share[k] * corner[k][first + i];
      to[i] = sum;
    }
  }

  void multiply(const float* rows, const float* panels, const float* bias, int64_t pixel, int64_t count, float* y) const {
    const int64_t outputs = g_.outputs / g_.groups;
    for (int64_t group = 0; group < g_.groups; ++group) {
      const float* pointers[32];
      for (int64_t i = 0; i < kernel_->rows; ++i)
        pointers[i] = rows + (group * kernel_->rows + std::min(i, count - 1)) * g_.depth();
      GemmF32Args args{};
      args.a = pointers;
      args.taps = 1;
      args.depth = g_.depth();
      args.b = panels + group * panels_ * panel_floats_;
      args.b_panel = panel_floats_;
      args.bias = bias + group * panels_ * kernel_->columns;
      args.rows = count;
      args.columns = outputs;
      args.c = y + pixel * g_.outputs + group * outputs;
      args.c_row = g_.outputs;
      args.c_group = 16;
      args.act = act_;
      args.first = args.last = true;
      kernel_->run(&args);
    }
  }

  Deformed g_;
  Operands operands_;
  const GemmF32* kernel_;
  ActArgs act_;
  bool has_bias_, has_mask_, packs_ = false;
  int64_t panels_ = 0, panel_floats_ = 0, packed_floats_ = 0;
  std::shared_ptr<const Buffer> weights_;
  Buffer bias_;
  ThreadAreas areas_;  // what the taps of a tile of outputs see, group by group
};

class DeformConv : public Routine {
 public:
  DeformConv() : Routine({.id = "deform_conv2/gathered:f32:nhwc:cpu"}) {}
  Verdict accepts(const Problem& p) const override {
    if (p.arity() < 3 || p.arity() > 5) return Verdict::no("it takes x, weights, offsets, a bias and a mask");
    for (const auto* list : {&p.in, &p.out})
      for (const Tensor& t : *list) {
        if (t.present && t.dtype != DType::f32) return Verdict::no("an element type is not f32");
        if (t.present && t.count() == 0) return Verdict::no("a tensor is empty");
      }
    if (p.in[0].shape.size() != 4 || p.in[1].shape.size() != 4 || p.in[2].shape.size() != 4) return Verdict::no("a rank is not 4");
    for (size_t i : {size_t{0}, size_t{2}, size_t{4}})
      if (p.has(i) && p.in[i].constant) return Verdict::no("x, the offsets or the mask is a constant");
    const Deformed g(p);
    if (g.groups < 1 || g.parts < 1 || g.inputs % g.groups || g.outputs % g.groups || g.inputs % g.parts)
      return Verdict::no("channels are no multiple of the groups");
    if (gemm_variants(Layout::nhwc, epilogue_act(p)).empty()) return Verdict::no("no micro-kernel in this tier");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override { return gemm_variants(Layout::nhwc, epilogue_act(p)); }
  // Weights in the order of rows, all else with the channels last.
  Ports ports(const Problem& p) const override {
    Ports ports;
    for (int i : p.dynamic()) {
      const size_t rank = p.in[static_cast<size_t>(i)].shape.size();
      ports.in.push_back({DType::f32, i == 1 || i == 3 ? plain_layout(rank) : Layout::nhwc, "cpu"});
    }
    ports.out.push_back({DType::f32, Layout::nhwc, "cpu"});
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<DeformedKernel>(p, variant, c);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<DeformConv>(); }
}  // namespace PW_COLLECT

}  // namespace pw
