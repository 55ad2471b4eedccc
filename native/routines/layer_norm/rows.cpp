// Normalisation over what lies side by side in memory: layer_norm and its kin over the last axes, instance_norm and group_norm
// of channels that each lie together.
//
// A row is summed in parts of kPart elements, which are merged in double. Where there are few long rows, the parts are shared
// out among the threads, in a phase of its own; the numbers are the same.
#include "routines/layer_norm/normalised.h"
#include "spi/estimate.h"

namespace pw {
namespace {

constexpr int64_t kPart = 16384;

// What a parameter of a layer over the last axes is: absent, one number, or one number for each element of a row.
enum class Along { absent, one, row };

// Where the parameters are, at the sizes of one run.
struct Parameters {
  const float *scale = nullptr, *bias = nullptr;
  Along scale_along = Along::absent, bias_along = Along::absent;
};

class NormRowsKernel : public Kernel {
 public:
  NormRowsKernel(const NormF32& kernel, const Problem& p, const Constants& constants, Layout layout, Normalisation how,
                 NormOpenAxes open, bool in_parts)
      : kernel_(kernel), operands_(p, constants), how_(std::move(how)), layout_(layout), rank_(p.in[0].shape.size()),
        post_(p), residual_(p.residual()), open_(std::move(open)), in_parts_(in_parts) {
    for (size_t i : {size_t{1}, size_t{2}})
      if (p.has(i) && i < p.arity()) {
        count_[i] = p.in[i].count();
        repack(p, constants, i);
      }
    if (in_parts_) {
      const Rows rows = rows_of(p.in[0].shape.data());
      workspace_ = static_cast<size_t>(rows.outer * parts(rows.length)) * 2 * sizeof(double);
    }
  }
  int64_t phases() const override { return in_parts_ ? 2 : 1; }
  size_t workspace_bytes() const override { return workspace_; }
  size_t packed_bytes() const override { return packed_[1].bytes() + packed_[2].bytes(); }
  bool open(size_t port, size_t axis) const override { return fixed_ ? false : open_(port, axis); }

  int run(const Context& c) noexcept override {
    const int64_t* size = c.in_sizes[0];
    const Rows rows = rows_of(size);
    if (rows.outer == 0 || rows.length == 0) return 0;
    const float* x = static_cast<const float*>(c.in[0]);
    const int64_t total = rows.outer * rows.length;
    const Parameters parameters = parameters_of(c);
    if (in_parts_) return run_in_parts(c, rows, parameters);
    in_pieces(c.team, rows.outer, 1, 3 * total, [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last; ++r) {
        const float* row = x + r * rows.length;
        const Statistics s = statistics(rows.length, [&](int64_t k, double& mean, double& sum) {
          kernel_.moments(how_.what, row + k * kPart, std::min(kPart, rows.length - k * kPart), &mean, &sum);
        });
        apply(c, rows, parameters, s, r, 0, rows.length);
      }
    });
    return 0;
  }

 private:
  struct Rows {
    int64_t outer = 1, length = 1;
    int64_t channels = 0, pixels = 1;  // of one row, where parameters are by channel
    int64_t groups = 1;                // rows of one image
  };
  static int64_t parts(int64_t length) { return (length + kPart - 1) / kPart; }

  Rows rows_of(const int64_t* size) const noexcept {
    Rows rows;
    if (how_.by_channel()) {
      rows.groups = how_.groups < 0 ? size[1] : how_.groups;
      rows.outer = size[0] * rows.groups;
      rows.channels = size[1] / std::max<int64_t>(1, rows.groups);
      for (size_t i = 2; i < rank_; ++i) rows.pixels *= size[i];
      rows.length = rows.channels * rows.pixels;
      return rows;
    }
    for (size_t i = 0; i < rank_; ++i) {
      const bool chosen = std::find(how_.axes.begin(), how_.axes.end(), static_cast<int64_t>(i)) != how_.axes.end();
      (chosen ? rows.length : rows.outer) *= size[i];
    }
    return rows;
  }

  // Constants that are not one number for each element of a row, in the order of memory, become so.
  void repack(const Problem& p, const Constants& constants, size_t i) {
    if (how_.by_channel() || !p.in[i].constant || count_[i] == 1) return;
    const Dims& shape = p.in[0].shape;
    Loops<1> loops;
    int64_t step[kMostRank];
    const size_t own_rank = p.in[i].shape.size();
    const Operand own{nullptr, p.in[i].shape.data(), static_cast<int>(own_rank), plain_layout(own_rank)};
    steps_of(own, step);
    int64_t length = 1;
    for (size_t d = 0; d < rank_; ++d) {
      const int axis = axis_in_memory(layout_of(layout_, rank_), static_cast<int>(d));
      if (std::find(how_.axes.begin(), how_.axes.end(), axis) == how_.axes.end()) continue;
      const int at = axis - static_cast<int>(rank_) + own.rank;
      const int64_t n = shape[static_cast<size_t>(axis)];
      loops.add(n, {at < 0 || own.size[at] == 1 ? 0 : step[at]});
      length *= n;
    }
    packed_[i] = Buffer(static_cast<size_t>(length) * sizeof(float));
    float* to = packed_[i].as<float>();
    const float* from = constants[i].as<float>();
    walk(loops, 0, length, [&](const int64_t* at, int64_t n) {
      const int64_t each = loops.count ? loops.loop[loops.count - 1].step[0] : 0;
      for (int64_t k = 0; k < n; ++k) *to++ = from[at[0] + k * each];
    });
    if (count_[i] != length) fixed_ = true;
    count_[i] = length;
  }

  Parameters parameters_of(const Context& c) const noexcept {
    Parameters found;
    const auto one = [&](size_t i, const float*& where, Along& along) {
      if (count_[i] == 0) return;
      where = packed_[i].bytes() ? packed_[i].as<float>() : operands_.get<float>(static_cast<int>(i), c.in);
      along = count_[i] == 1 && !how_.by_channel() ? Along::one : Along::row;
    };
    one(1, found.scale, found.scale_along);
    one(2, found.bias, found.bias_along);
    return found;
  }

  template <class Part>
  Statistics statistics(int64_t length, Part&& part) const noexcept {
    if (length <= kPart) {
      Statistics s;
      s.count = static_cast<double>(length);
      part(0, s.mean, s.sum);
      return s;
    }
    Statistics s;
    for (int64_t k = 0; k < parts(length); ++k) {
      double mean, sum;
      part(k, mean, sum);
      s.add(static_cast<double>(std::min(kPart, length - k * kPart)), mean, sum);
    }
    return s;
  }

  int run_in_parts(const Context& c, const Rows& rows, const Parameters& parameters) noexcept {
    const float* x = static_cast<const float*>(c.in[0]);
    double* found = static_cast<double*>(c.workspace);
    const int64_t each = parts(rows.length), all = rows.outer * each;
    const auto length_of = [&](int64_t k) { return std::min(kPart, rows.length - k * kPart); };
    if (c.team.phase == 0) {
      in_pieces(c.team, all, 1, 2 * rows.outer * rows.length, [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          const float* part = x + i / each * rows.length + i % each * kPart;
          kernel_.moments(how_.what, part, length_of(i % each), found + 2 * i, found + 2 * i + 1);
        }
      });
      return 0;
    }
    in_pieces(c.team, all, 1, 2 * rows.outer * rows.length, [&](int64_t first, int64_t last) {
      Statistics s;
      int64_t known = -1;
      for (int64_t i = first; i < last; ++i) {
        const int64_t r = i / each, k = i % each;
        if (r != known) {
          s = statistics(rows.length, [&](int64_t part, double& mean, double& sum) {
            mean = found[2 * (r * each + part)];
            sum = found[2 * (r * each + part) + 1];
          });
          known = r;
        }
        apply(c, rows, parameters, s, r, k * kPart, k * kPart + length_of(k));
      }
    });
    return 0;
  }

  // Elements [from, to) of row r.
  void apply(const Context& c, const Rows& rows, const Parameters& parameters, const Statistics& s, int64_t r, int64_t from,
             int64_t to) const noexcept {
    const float* x = static_cast<const float*>(c.in[0]) + r * rows.length;
    float* y = static_cast<float*>(c.out[0]) + r * rows.length;
    const float* residual = residual_ < 0 ? nullptr : operands_.get<float>(residual_, c.in) + r * rows.length;
    const auto factor = static_cast<float>(how_.factor(s.sum, s.count));
    const int64_t chunk = post_.nothing() ? to - from : Post::kChunk;
    for (int64_t i = from; i < to; i += chunk) {
      const int64_t n = std::min(chunk, to - i);
      NormRow args{x + i, y + i, n, s.high(), s.low(), factor, 0.0f, nullptr, nullptr, post_.low(), post_.high()};
      if (how_.by_channel()) by_channel(rows, parameters, args, r % rows.groups * rows.channels, i);
      else along(parameters, args, i);
      if (!post_.nothing()) post_.apply(y + i, residual ? residual + i : nullptr, n);
    }
  }

  void along(const Parameters& p, NormRow args, int64_t i) const noexcept {
    if (p.scale_along == Along::one) args.factor *= *p.scale;
    if (p.scale_along == Along::row) args.scale = p.scale + i;
    if (p.bias_along == Along::one) args.shift = *p.bias;
    if (p.bias_along == Along::row) args.bias = p.bias + i;
    kernel_.row(&args);
  }

  // `channel`: the first one of the row. `i`: the first element.
  void by_channel(const Rows& rows, const Parameters& p, const NormRow& all, int64_t channel, int64_t i) const noexcept {
    if (!p.scale && !p.bias) return kernel_.row(&all);
    if (rows.pixels == 1) {
      NormRow args = all;
      args.scale = p.scale ? p.scale + channel + i : nullptr;
      args.bias = p.bias ? p.bias + channel + i : nullptr;
      return kernel_.row(&args);
    }
    for (int64_t done = 0; done < all.n;) {
      const int64_t at = i + done, of = channel + at / rows.pixels;
      NormRow args = all;
      args.x += done;
      args.y += done;
      args.n = std::min(all.n - done, rows.pixels - at % rows.pixels);
      if (p.scale) args.factor *= p.scale[of];
      if (p.bias) args.shift = p.bias[of];
      kernel_.row(&args);
      done += args.n;
    }
  }

  const NormF32& kernel_;
  Operands operands_;
  Normalisation how_;
  Layout layout_;
  size_t rank_;
  Post post_;
  int residual_;
  NormOpenAxes open_;
  bool in_parts_, fixed_ = false;
  size_t workspace_ = 0;
  int64_t count_[3] = {};
  Buffer packed_[3];
};

class NormRows : public VectorRoutine, public Estimating {
 public:
  NormRows(const std::string& layer, Layout layout) : VectorRoutine(layer, "rows", layout, PW_KIND_NORM_F32, true) {}

  Verdict accepts(const Problem& p) const override {
    if (p.in.empty() || p.in[0].constant) return Verdict::no("its input is a constant");
    if (auto verdict = basics(p, p.in[0]); !verdict) return verdict;
    const Normalisation how = normalisation_of(p);
    const Dims& shape = p.in[0].shape;
    const Group g = group_of(layout_, shape, how.axes);
    if (!g.together || g.inner != 1) return Verdict::no("the axes are not the last ones in memory");
    if (how.by_channel()) {
      int64_t pixels = 1;
      for (size_t i = 2; i < shape.size(); ++i) pixels *= shape[i];
      // In channels last, groups lie together where there is one pixel; a group of all channels is not in their order.
      if (layout_ != Layout::plain && layout_ != Layout::nchw && pixels != 1)
        return Verdict::no("a channel does not lie together in memory");
      return Verdict::ok();
    }
    for (size_t i : {size_t{1}, size_t{2}})
      if (auto verdict = parameter(p, i, how); !verdict) return verdict;
    return Verdict::ok();
  }
  Ports ports(const Problem& p) const override { return preferred(in_place(VectorRoutine::ports(p))); }
  Estimate estimate(const Problem&, const std::string&) const override {
    return Estimate::at(0.025);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& constants) const override {
    Normalisation how = normalisation_of(p);
    const bool by_channel = how.by_channel();
    int64_t length = 1;
    if (how.by_channel()) {
      length = p.in[0].count() / p.in[0].shape[0] / (how.groups < 0 ? p.in[0].shape[1] : how.groups);
    } else {
      for (int64_t a : how.axes) length *= p.in[0].shape[static_cast<size_t>(a)];
    }
    const int64_t rows = p.in[0].count() / length;
    const bool in_parts = p.threads > 1 && rows < 2 * p.threads && length >= 4 * kPart;
    return std::make_unique<NormRowsKernel>(variant_ukernel<NormF32>(kind_, variant), p, constants, layout_, std::move(how),
                                            NormOpenAxes(p, ports(p), by_channel), in_parts);
  }

 private:
  // One number, or numbers along the axes that are normalised; those of values as they lie in memory.
  Verdict parameter(const Problem& p, size_t i, const Normalisation& how) const {
    if (!p.has(i) || i >= p.arity() || p.in[i].count() == 1) return Verdict::ok();
    const Dims &x = p.in[0].shape, &own = p.in[i].shape;
    const size_t missing = x.size() - own.size();
    int64_t length = 1;
    for (size_t a = 0; a < x.size(); ++a) {
      const bool chosen = std::find(how.axes.begin(), how.axes.end(), static_cast<int64_t>(a)) != how.axes.end();
      if (chosen) length *= x[a];
      else if (a >= missing && own[a - missing] != 1)
        return Verdict::no("scale or bias differ along an axis that is not normalised");
    }
    if (p.in[i].constant) return Verdict::ok();
    if (p.in[i].count() != length) return Verdict::no("scale or bias are values that broadcast along the axes");
    Dims left = x;
    for (size_t a = 0; a < x.size(); ++a)
      if (std::find(how.axes.begin(), how.axes.end(), static_cast<int64_t>(a)) == how.axes.end()) left[a] = 1;
    if (!row_major(layout_of(layout_, x.size()), left)) return Verdict::no("scale or bias are values in another order than x");
    return Verdict::ok();
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const char* layer : kNormalisations)
    for (Layout layout : {Layout::plain, Layout::nchw, Layout::nhwc}) {
      if (layout == Layout::nhwc && layer == std::string_view("instance_norm")) continue;  // of images of one pixel
      c.add<NormRows>(layer, layout);
    }
}
}  // namespace PW_COLLECT

}  // namespace pw
