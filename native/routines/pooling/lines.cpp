// Maximum and mean over windows of planes, a line of outputs at a time: the lines that it sees are folded into one, with its
// padding, and that is folded along itself. Nothing is copied, and no output is computed by itself.
#include "products/matrix.h"
#include "routines/pooling/axis.h"
#include "spi/estimate.h"
#include "ukernels/kinds/pool_line_f32.h"
#include "values/tables.h"
#include "values/vector.h"

namespace pw {
namespace {

class LinesKernel : public PieceKernel {
 public:
  LinesKernel(const PoolLineF32& kernel, Pool op, bool count_pad, const Problem& p)
      : kernel_(kernel), op_(op), count_pad_(count_pad), v_(window_axis(p, 0)), h_(window_axis(p, 1)),
        planes_(p.in[0].shape[0] * p.in[0].shape[1]) {
    reach_ = std::max(h_.pad + h_.length, (h_.out - 1) * h_.stride + (h_.kernel - 1) * h_.dilation + 1);
    areas_ = {round_up((reach_ + 32) * 4, 64), p.threads};
    if (op_ != Pool::sum) return;
    // Row n: the factors of a line whose outputs see n lines of taps.
    scale_ = Buffer(static_cast<size_t>((v_.kernel + 1) * h_.out + kVector) * 4);
    std::fill(scale_.as<float>(), scale_.as<float>() + (v_.kernel + 1) * h_.out + kVector, 0.0f);
    for (int64_t tall = 0; tall <= v_.kernel; ++tall)
      for (int64_t o = 0; o < h_.out; ++o) {
        const int64_t wide = count_pad_ ? h_.padded_count(o) : h_.last(o) - h_.first(o);
        const int64_t count = std::max<int64_t>(1, tall) * std::max<int64_t>(1, wide);
        scale_.as<float>()[tall * h_.out + o] = 1.0f / static_cast<float>(count);
      }
  }
  size_t workspace_bytes() const override { return areas_.total(); }
  size_t packed_bytes() const override { return scale_.bytes(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    const auto* x = static_cast<const float*>(in[0]);
    auto* y = static_cast<float*>(out[0]);
    auto* line = areas_.own<float>(workspace, team);
    const int64_t lines = planes_ * v_.out, cost = lines * (h_.length * v_.kernel + h_.out * h_.kernel) / 8;
    in_pieces(team, lines, 1, cost, [&](int64_t begin, int64_t end) {
      PoolLineArgs args{};
      args.op = op_;
      args.x_row = v_.dilation * h_.length;
      args.width = h_.length;
      args.line = line;
      args.left = h_.pad;
      args.reach = reach_;
      args.taps = h_.kernel, args.dilation = h_.dilation, args.stride = h_.stride;
      args.outputs = h_.out;
      for (int64_t i = begin; i < end; ++i) {
        const int64_t oy = i % v_.out, first = v_.first(oy);
        args.rows = std::max<int64_t>(0, v_.last(oy) - first);
        args.x = x + (i / v_.out * v_.length + (args.rows ? v_.start(oy) + first * v_.dilation : 0)) * h_.length;
        args.y = y + i * h_.out;
        if (op_ == Pool::sum) args.scale = scale_.as<float>() + (count_pad_ ? v_.padded_count(oy) : args.rows) * h_.out;
        kernel_.run(&args);
      }
    });
  }

 private:
  static constexpr int64_t kVector = 16;  // what a micro-kernel may read beyond the last factor
  const PoolLineF32& kernel_;
  Pool op_;
  bool count_pad_;
  WindowAxis v_, h_;
  int64_t planes_, reach_;
  Buffer scale_;
  ThreadAreas areas_;  // a line
};

class Lines : public VectorRoutine, public Estimating {
 public:
  Lines(const std::string& layer, Pool op) : VectorRoutine(layer, "lines", Layout::nchw, PW_KIND_POOL_LINE_F32), op_(op) {}
  Verdict accepts(const Problem& p) const override {
    if (p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    if (p.in[0].shape.size() != 4) return Verdict::no("the rank is another one");
    if (auto verdict = basics(p, p.in[0]); !verdict) return verdict;
    const WindowAxis v = window_axis(p, 0), h = window_axis(p, 1);
    // The sum over a large window would round as often as it has taps.
    if (op_ == Pool::sum && saturated(v.kernel, h.kernel) > kMostTaps) return Verdict::no("the window has more than 1024 taps");
    return fits_table(p, saturated(v.kernel + 1, h.out), sizeof(float));
  }
  Ports ports(const Problem& p) const override { return preferred(VectorRoutine::ports(p)); }
  Estimate estimate(const Problem&, const std::string&) const override { return Estimate::at(0.04); }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants&) const override {
    const bool count_pad = op_ == Pool::sum && p.integer("count_pad") != 0;
    return std::make_unique<LinesKernel>(variant_ukernel<PoolLineF32>(kind_, variant), op_, count_pad, p);
  }

 private:
  static constexpr int64_t kMostTaps = 1024;
  Pool op_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<Lines>("max_pool2", Pool::max);
  c.add<Lines>("average_pool2", Pool::sum);
}
}  // namespace PW_COLLECT

}  // namespace pw
