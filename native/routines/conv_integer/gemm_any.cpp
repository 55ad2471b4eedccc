// conv_integer/gemm: exact sums of products of bytes of any signs and zero points. The team first copies the image, with its
// padding, into words that the micro-kernel reads in place; then tiles of pixels meet panels of outputs. An image of whole
// words with the channels last and no padding is read where it lies. See products/integer.h for the terms that zero points add.
#include <cstring>

#include "products/estimates_u8.h"
#include "products/integer.h"
#include "values/tables.h"

namespace pw {
namespace {

enum Input { kX, kW, kXZero, kWZero, kBias, kScale, kZero };

// Sizes of the problem that no run changes.
struct Window {
  int64_t groups, channels, outputs;  // channels and outputs of one group
  int64_t kh, kw, stride_y, stride_x, top, left, bottom, right, dilation_y, dilation_x;
  explicit Window(const Problem& p) {
    const Dims& w = p.in[1].shape;
    groups = p.integer("groups");
    channels = w[1], outputs = w[0] / groups, kh = w[2], kw = w[3];
    const auto stride = p.integers("stride"), pad = p.integers("pad"), dilation = p.integers("dilation");
    stride_y = stride[0], stride_x = stride[1];
    top = pad[0], left = pad[1], bottom = pad[2], right = pad[3];
    dilation_y = dilation[0], dilation_x = dilation[1];
  }
};

// The copy of an image: pixels of `words` words each, [N, groups, height, width].
struct Copy {
  int64_t images, height, width, words, pixels;
  Copy(const Window& w, const int64_t* x, int64_t group)
      : images(x[0]), height(x[2] + w.top + w.bottom), width(x[3] + w.left + w.right), words(divide_up(w.channels, group)),
        pixels(images * w.groups * height * width) {}
};

class IntegerConvKernel : public Kernel {
 public:
  IntegerConvKernel(const Problem& p, const Constants& constants, Layout images, const GemmU8& kernel, const Linear& linear)
      : operands_(p, constants, images), window_(p), kernel_(kernel), linear_(linear), end_(p.out[0].dtype), x_type_(p.in[0].dtype),
        w_type_(p.in[1].dtype), nhwc_(images == Layout::nhwc), constant_(p.in[1].constant) {
    for (size_t i = 0; i < 7; ++i) has_[i] = p.has(i);
    ports_ = p.dynamic().size();
    const Copy copy(window_, p.in[0].shape.data(), kernel.group);
    // Neighbouring pixels of a row of the kernel are one run of words where it has no gaps.
    together_ = window_.dilation_x == 1;
    taps_ = together_ ? window_.kh : window_.kh * window_.kw;
    words_ = together_ ? window_.kw * copy.words : copy.words;
    panels_ = divide_up(window_.outputs, kernel.columns);
    panel_bytes_ = taps_ * words_ * kernel.columns * 4;
    all_ = window_.groups * panels_;
    packed_bytes_ = round_up(all_ * panel_bytes_, 64) + round_up(all_ * kernel.columns * 4, 64);
    if (constant_) {
      const std::string key = "integer_conv/" + std::to_string(kernel.group) + "/" + std::to_string(kernel.columns) + "/" +
                              std::to_string(window_.groups) + "/" + std::to_string(taps_) + "/" + text(w_type_);
      packed_ = shared_packing(constants[1].id, key, [&] {
        Buffer packed(static_cast<size_t>(packed_bytes_));
        parallel_for(all_, [&](int64_t first, int64_t last) {
          for (int64_t i = first; i < last; ++i) pack(constants[1].as<uint8_t>(), i, packed.as<char>());
        });
        return packed;
      });
    }
    row_terms_ = needs_row_terms(p, constants);
    in_place_ = nhwc_ && kernel.group == 4 && !is_signed(x_type_) && window_.channels % 4 == 0 && !row_terms_ &&
                window_.top + window_.left + window_.bottom + window_.right == 0 && (window_.groups == 1 || window_.kw == 1);
    const auto known = [&](size_t i) { return !p.has(i) || p.in[i].constant; };
    known_terms_ = constant_ && known(kXZero) && known(kWZero) && known(kBias);
    if (known_terms_) {
      kept_ = Buffer(static_cast<size_t>(2 * round_up(all_ * kernel.columns * 4, 64)));
      for (int64_t i = 0; i < all_; ++i)
        terms({has_[kXZero] ? constants[kXZero].data : nullptr, has_[kWZero] ? constants[kWZero].data : nullptr,
               has_[kWZero] ? p.in[kWZero].count() : 1, has_[kBias] ? constants[kBias].as<int32_t>() : nullptr,
               packed_->as<char>()},
              i, kept_.as<int32_t>(), kept_.as<int32_t>() + round_up(all_ * kernel.columns * 4, 64) / 4);
    }
    copy_bytes_ = in_place_ ? 0 : round_up(copy.pixels * copy.words * 4, 64) + 64;
    sums_bytes_ = row_terms_ ? round_up(copy.pixels * 4, 64) : 0;
    terms_bytes_ = known_terms_ ? 0 : round_up(all_ * kernel.columns * 4, 64);
    const int64_t tile = kernel.rows * panels_ * kernel.columns * 4;
    areas_ = {round_up(taps_ * kernel.rows * 8, 64) + round_up(kernel.rows * 4, 64) + 2 * round_up(tile, 64), p.threads};
  }

  int64_t phases() const override { return alone() ? 1 : 2; }
  bool open(size_t port, size_t axis) const override { return axis != 1 && (port == 0 || port == ports_); }
  size_t workspace_bytes() const override {
    return static_cast<size_t>(copy_bytes_ + sums_bytes_ + 2 * terms_bytes_ + (constant_ ? 0 : packed_bytes_)) + areas_.total();
  }
  size_t packed_bytes() const override { return (packed_ ? packed_->bytes() : 0) + kept_.bytes(); }
  Memory reads_first(int64_t phase, uint32_t, uint32_t) const override {
    return phase + 1 == phases() && packed_ ? packed_->memory() : Memory{};
  }

  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(kX, c), y = operands_.out(0, c);
    const Copy copy(window_, x.size, kernel_.group);
    auto* own = static_cast<char*>(c.workspace);
    char* dynamic = own + copy_bytes_ + sums_bytes_ + 2 * terms_bytes_;
    auto* starts = reinterpret_cast<int32_t*>(own + copy_bytes_ + sums_bytes_);
    Run run{c, copy, x, y, own, reinterpret_cast<int32_t*>(own + copy_bytes_), starts, starts + terms_bytes_ / 4,
            constant_ ? packed_->as<char>() : dynamic};
    if (known_terms_) {
      run.starts = const_cast<int32_t*>(kept_.as<int32_t>());
      run.zeros = run.starts + round_up(all_ * kernel_.columns * 4, 64) / 4;
    }
    if (c.team.phase == 0 && !alone()) {
      const int64_t lines = in_place_ ? 0 : copy.images * copy.height;
      c.team.each(lines, std::max<int64_t>(1, lines / (8 * c.team.count)), [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) copy_line(run, i / copy.height, i % copy.height);
      });
      c.team.each(known_terms_ ? 0 : all_, std::max<int64_t>(1, all_ / (4 * c.team.count)), [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          if (!constant_) pack(operands_.in(kW, c).as<uint8_t>(), i, dynamic);
          const auto data = [&](Input k) { return has_[k] ? operands_.in(k, c).data : nullptr; };
          terms({data(kXZero), data(kWZero), has_[kWZero] ? operands_.in(kWZero, c).count() : 1,
                 static_cast<const int32_t*>(data(kBias)), run.packed}, i, run.starts, run.zeros);
        }
      });
      return 0;
    }
    const int64_t pixels = y.size[0] * y.size[2] * y.size[3], tiles = divide_up(pixels, kernel_.rows);
    const int64_t pieces = window_.groups * tiles;
    char* area = areas_.own<char>(dynamic + (constant_ ? 0 : packed_bytes_), c.team);
    c.team.each(pieces, std::max<int64_t>(1, pieces / (8 * c.team.count)), [&](int64_t first, int64_t last) {
      const EvenParts parts(pixels, tiles);
      for (int64_t i = first; i < last; ++i) tile_of(run, i / tiles, parts[i % tiles], area);
    });
    return 0;
  }

 private:
  struct Run {
    const Context& c;
    const Copy& copy;
    const Operand &x, &y;
    char* words;
    int32_t *pixel_sums, *starts, *zeros;
    const char* packed;
  };
  // What the terms of columns are made of; null where it is absent.
  struct Points {
    const void *x_zero, *w_zero;
    int64_t w_zeros;
    const int32_t* bias;
    const char* packed;
  };
  // Nothing is to be done before the products.
  bool alone() const { return in_place_ && known_terms_; }

  static bool needs_row_terms(const Problem& p, const Constants& constants) {
    const DType type = p.in[kW].dtype;
    if (!p.has(kWZero)) return !is_signed(type);
    if (!p.in[kWZero].constant) return true;
    for (int64_t i = 0; i < p.in[kWZero].count(); ++i)
      if (moved_point(constants[kWZero].data, type, i, true)) return true;
    return false;
  }
  int32_t x_point(const void* x_zero) const noexcept {
    if (x_zero) return moved_point(x_zero, x_type_, 0, false);
    return is_signed(x_type_) ? 128 : 0;
  }

  // Panel i of all groups: rows of B in the order (tap, word of a pixel).
  void pack(const uint8_t* w, int64_t i, char* to) const noexcept {
    const int64_t tile = kernel_.columns, group = i / panels_, column = (i - group * panels_) * tile;
    const int64_t width = std::min(tile, window_.outputs - column), taps = window_.kh * window_.kw;
    const int64_t words = divide_up(window_.channels, kernel_.group);
    char* panel = to + i * panel_bytes_;
    auto* sums = reinterpret_cast<int32_t*>(to + round_up(all_ * panel_bytes_, 64)) + i * tile;
    std::memset(panel, 0, static_cast<size_t>(panel_bytes_));
    std::memset(sums, 0, static_cast<size_t>(tile) * 4);
    const auto pack = kernel_.group == 2 ? pack_integers<2> : pack_integers<4>;
    const int64_t row = window_.channels * taps;
    for (int64_t t = 0; t < taps; ++t)
      pack(w + (group * window_.outputs + column) * row + t, window_.channels, taps, row, width, tile, is_signed(w_type_) ? 0 : 128,
           panel + t * words * tile * 4, sums);
  }

  void terms(const Points& p, int64_t i, int32_t* starts, int32_t* zeros) const noexcept {
    const int64_t tile = kernel_.columns, group = i / panels_, column = (i - group * panels_) * tile;
    const auto* sums = reinterpret_cast<const int32_t*>(p.packed + round_up(all_ * panel_bytes_, 64)) + i * tile;
    const auto depth = static_cast<uint32_t>(window_.channels * window_.kh * window_.kw);
    const auto point = static_cast<uint32_t>(x_point(p.x_zero));
    for (int64_t j = 0; j < tile; ++j) {
      const int64_t n = group * window_.outputs + column + j;
      int32_t &start = starts[i * tile + j], &zero = zeros[i * tile + j];
      start = zero = 0;
      if (column + j >= window_.outputs) continue;
      zero = p.w_zero ? moved_point(p.w_zero, w_type_, p.w_zeros == 1 ? 0 : n, true) : is_signed(w_type_) ? 0 : -128;
      const uint32_t total = static_cast<uint32_t>(sums[j]) - depth * static_cast<uint32_t>(zero);
      start = static_cast<int32_t>((p.bias ? static_cast<uint32_t>(p.bias[n]) : 0u) - point * total);
    }
  }

  // One line of the copy, of all groups: pixels of the padding hold the zero point.
  void copy_line(const Run& r, int64_t image, int64_t line) const noexcept {
    if (kernel_.group == 2) copy_elements<int16_t>(r, image, line);
    else copy_elements<uint8_t>(r, image, line);
  }
  template <class Element>
  void copy_elements(const Run& r, int64_t image, int64_t line) const noexcept {
    const Window& w = window_;
    const int64_t height = r.x.size[2], width = r.x.size[3], all = w.groups * w.channels, in_word = r.copy.words * 4 / static_cast<int64_t>(sizeof(Element));
    const auto point = static_cast<Element>(x_point(has_[kXZero] ? operands_.in(kXZero, r.c).data : nullptr));
    const uint8_t flip = is_signed(x_type_) ? 128 : 0;
    const int64_t from = line - w.top;
    const bool outside = from < 0 || from >= height;
    for (int64_t g = 0; g < w.groups; ++g) {
      const int64_t first = ((image * w.groups + g) * r.copy.height + line) * r.copy.width;
      auto* to = reinterpret_cast<Element*>(r.words) + first * in_word;
      const auto pixels = [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; ++i)
          for (int64_t k = 0; k < in_word; ++k) to[i * in_word + k] = k < w.channels ? point : 0;
      };
      pixels(0, outside ? r.copy.width : w.left);
      if (!outside) {
        pixels(w.left + width, r.copy.width);
        Element* inner = to + w.left * in_word;
        const auto* x = r.x.as<uint8_t>();
        if (nhwc_) {
          const uint8_t* source = x + ((image * height + from) * width) * all + g * w.channels;
          if (w.groups == 1 && in_word == all) {
            // One run of memory on both sides.
            if (sizeof(Element) == 1 && !flip) std::memcpy(inner, source, static_cast<size_t>(width * all));
            else
              for (int64_t i = 0; i < width * all; ++i) inner[i] = static_cast<uint8_t>(source[i] ^ flip);
          } else if (w.channels == 3) {
            for (int64_t i = 0; i < width; ++i, source += all, inner += in_word) {
              for (int64_t k = 0; k < 3; ++k) inner[k] = static_cast<uint8_t>(source[k] ^ flip);
              inner[3] = 0;
            }
          } else {
            for (int64_t i = 0; i < width; ++i, source += all, inner += in_word) {
              for (int64_t k = 0; k < w.channels; ++k) inner[k] = static_cast<uint8_t>(source[k] ^ flip);
              for (int64_t k = w.channels; k < in_word; ++k) inner[k] = 0;
            }
          }
        } else {
          for (int64_t k = 0; k < in_word; ++k) {
            const uint8_t* source = x + ((image * all + g * w.channels + k) * height + from) * width;
            if (k < w.channels)
              for (int64_t i = 0; i < width; ++i) inner[i * in_word + k] = static_cast<uint8_t>(source[i] ^ flip);
            else
              for (int64_t i = 0; i < width; ++i) inner[i * in_word + k] = 0;
          }
        }
      }
      if (row_terms_)
        for (int64_t i = 0; i < r.copy.width; ++i) {
          int32_t sum = 0;
          for (int64_t k = 0; k < w.channels; ++k) sum += to[i * in_word + k];
          r.pixel_sums[first + i] = sum;
        }
    }
  }

  // Outputs of one group at some pixels, numbered through all images.
  void tile_of(const Run& r, int64_t group, EvenParts::Part pixels, char* area) const noexcept {
    const Window& w = window_;
    const int64_t tile = kernel_.columns, oh = r.y.size[2], ow = r.y.size[3], image_pixels = oh * ow;
    const auto** pointers = reinterpret_cast<const void**>(area);
    auto* row_sums = reinterpret_cast<int32_t*>(area + round_up(taps_ * kernel_.rows * 8, 64));
    auto* sums = reinterpret_cast<int32_t*>(reinterpret_cast<char*>(row_sums) + round_up(kernel_.rows * 4, 64));
    char* results = reinterpret_cast<char*>(sums) + round_up(kernel_.rows * panels_ * tile * 4, 64);
    const char* base = in_place_ ? r.x.as<char>() + group * w.channels : r.words;
    const int64_t pixel_bytes = in_place_ ? w.groups * w.channels : r.copy.words * 4;
    int64_t image = pixels.first / image_pixels, oy = (pixels.first - image * image_pixels) / ow;
    int64_t ox = pixels.first - image * image_pixels - oy * ow;
    for (int64_t i = 0; i < pixels.count; ++i) {
      const int64_t line = in_place_ ? image : image * w.groups + group;
      const int64_t at = (line * r.copy.height + oy * w.stride_y) * r.copy.width + ox * w.stride_x;
      int32_t row_sum = 0;
      for (int64_t t = 0; t < taps_; ++t) {
        const int64_t ky = together_ ? t : t / w.kw, kx = together_ ? 0 : t % w.kw;
        const int64_t own = at + ky * w.dilation_y * r.copy.width + kx * w.dilation_x;
        pointers[t * kernel_.rows + i] = base + own * pixel_bytes;
        if (row_terms_)
          for (int64_t k = 0; k < (together_ ? w.kw : 1); ++k) row_sum += r.pixel_sums[own + k];
      }
      row_sums[i] = row_sum;
      if (++ox < ow) continue;
      ox = 0;
      if (++oy == oh) oy = 0, ++image;
    }
    for (int64_t t = 0; t < taps_; ++t)
      for (int64_t i = pixels.count; i < kernel_.rows; ++i) pointers[t * kernel_.rows + i] = pointers[t * kernel_.rows];
    GemmU8Args args{};
    args.a = pointers;
    args.b = r.packed + group * panels_ * panel_bytes_;
    args.start = r.starts + group * panels_ * tile;
    args.sums = sums;
    args.taps = taps_;
    args.words = words_;
    args.step = 1;
    args.rows = args.tile_rows = pixels.count;
    args.columns = w.outputs;
    args.c_row = panels_ * tile;
    kernel_.run(&args);
    SumsArgs end{};
    end.zeros = row_terms_ ? r.zeros + group * panels_ * tile : nullptr;
    end.bytes = end_.bytes();
    end.zero = end_.zero(has_[kZero] ? operands_.in(kZero, r.c).data : nullptr);
    end.low = end_.low, end.high = end_.high;
    const int64_t first = group * w.outputs, all = w.groups * w.outputs, width = end_.width();
    if (has_[kScale]) {
      const Operand scale = operands_.in(kScale, r.c);
      end.each = scale.count() != 1;
      end.scale = scale.as<float>() + (end.each ? first : 0);
    }
    auto* y = static_cast<char*>(r.c.out[0]);
    for (int64_t i = 0; i < pixels.count; ++i) {
      end.sums = sums + i * args.c_row;
      end.row_sum = row_sums[i];
      char* to = nhwc_ ? y + ((pixels.first + i) * all + first) * width : results + i * w.outputs * width;
      linear_.finish(&end, to, w.outputs);
    }
    if (!nhwc_) scatter(results, y, pixels, image_pixels, first, all, width);
  }

  // Rows of pixels into planes of outputs.
  void scatter(const char* results, char* y, EvenParts::Part pixels, int64_t image_pixels, int64_t first, int64_t all,
               int64_t width) const noexcept {
    const auto move = [&](auto unit) {
      using T = decltype(unit);
      const auto* from = reinterpret_cast<const T*>(results);
      auto* to = reinterpret_cast<T*>(y);
      for (int64_t i = 0; i < pixels.count;) {
        const int64_t image = (pixels.first + i) / image_pixels, at = pixels.first + i - image * image_pixels;
        const int64_t some = std::min(pixels.count - i, image_pixels - at);
        for (int64_t n = 0; n < window_.outputs; ++n) {
          T* plane = to + (image * all + first + n) * image_pixels + at;
          for (int64_t k = 0; k < some; ++k) plane[k] = from[(i + k) * window_.outputs + n];
        }
        i += some;
      }
    };
    if (width == 1) move(uint8_t{});
    else move(uint32_t{});
  }

  RunOperands operands_;
  Window window_;
  const GemmU8& kernel_;
  const Linear& linear_;
  SumsEnd end_;
  DType x_type_, w_type_;
  bool nhwc_, constant_, together_ = false, row_terms_ = true;
  bool in_place_ = false, known_terms_ = false;  // see the top; terms that prepare() could compute
  Buffer kept_;                                  // these: what sums begin with, and the columns' zero points
  bool has_[7];
  size_t ports_ = 1;
  int64_t taps_ = 0, words_ = 0, panels_ = 0, panel_bytes_ = 0, all_ = 0;
  int64_t packed_bytes_ = 0, copy_bytes_ = 0, sums_bytes_ = 0, terms_bytes_ = 0;
  std::shared_ptr<const Buffer> packed_;
  ThreadAreas areas_;
};

class IntegerConv : public AnyRoutine, public Estimating {
 public:
  explicit IntegerConv(Layout images) : AnyRoutine("conv_integer", "gemm", images) {}
  Verdict accepts(const Problem& p) const override {
    if (p.in[0].constant) return Verdict::no("x is a constant");
    if (p.in[0].count() == 0 || p.out[0].count() == 0) return Verdict::no("a tensor is empty");
    if (!p.in[1].constant && images_ != Layout::nchw) return Verdict::no("weights that are a value lie in the order of rows");
    const Window w(p);
    const int64_t pixels = saturated(saturated(p.in[0].shape[0] * w.groups, p.in[0].shape[2] + w.top + w.bottom),
                                     p.in[0].shape[3] + w.left + w.right);
    if (auto v = fits_table(p, saturated(pixels, divide_up(w.channels, 2)), 4); !v) return v;
    return basics(p);
  }
  std::vector<std::string> variants(const Problem&) const override { return integer_variants(false); }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const Window w(p);
    const GemmU8& kernel = gemm_u8_kernel(variant);
    const Dims& y = p.out[0].shape;
    const int64_t outputs = y[0] * y[2] * y[3], words = divide_up(w.channels, kernel.group);
    const bool together = w.dilation_x == 1, images_last = images_ == Layout::nhwc;
    Estimate e;
    add_product(e, {.rows = outputs, .depth = (together ? w.kw : 1) * words * kernel.group, .columns = w.outputs,
                    .taps = together ? w.kh : w.kh * w.kw, .count = w.groups, .runs = true}, kernel);
    if (!p.in[1].constant) e.constants = 0;
    const auto number = [](int64_t n) { return static_cast<double>(n); };
    const Copy copy(w, p.in[0].shape.data(), kernel.group);
    const bool lies = images_last && kernel.group == 4 && w.channels % 4 == 0 && p.in[0].dtype == DType::u8 &&
                      w.top + w.left + w.bottom + w.right == 0;
    if (!lies) {
      const double bytes = number(copy.pixels * copy.words * 4);
      e.work += bytes * (images_last ? kCopied : kTurned);
      e.move(2 * bytes, bytes);
      e.phases = 2;
    }
    e.work += number(p.out[0].count()) * (images_last ? kEnd : kEnd + kScattered) + number(outputs * w.groups) * kPixel;
    return e;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& constants) const override {
    return std::make_unique<IntegerConvKernel>(p, constants, images_, gemm_u8_kernel(variant), best_ukernel<Linear>(PW_KIND_LINEAR));
  }

 private:
  // Operations of bytes that copying a byte of the image takes, with the channels last and first, ending a sum, putting it into
  // a plane, and what the end of a pixel of a group begins with.
  static constexpr double kCopied = 4, kTurned = 60, kEnd = 20, kScattered = 100, kPixel = 6000;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : {Layout::nchw, Layout::nhwc}) c.add<IntegerConv>(layout);
}
}  // namespace PW_COLLECT
}  // namespace pw
