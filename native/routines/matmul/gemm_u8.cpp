// matmul/gemm on u8: two values, each with a scale and a zero point. b is packed by the team at the start of every run.
//
// With zero points za and zb a sum over K terms is, exactly and in 32 bits that may wrap around on the way,
//   sum (a - za) * (b - zb)  =  sum a * (b - t)  -  za * (sum b - K * zb)  -  (zb - t) * sum a
// for any t. The second term belongs to a column, and sums begin with it. Where elements are widened to 16 bits t = zb,
// and nothing is left of the third. Where bytes are multiplied t = 128, with which b - t fits s8; unless zb is 128 too,
// sums then leave the micro-kernel as they are, and rows get their term before they are requantised.
#include <cstring>

#include "products/estimates_u8.h"
#include "products/matrix_u8.h"
#include "routines/matmul/matmul.h"
#include "ukernels/kinds/gemv_u8.h"
#include "values/operands.h"

namespace pw {
namespace {

typedef uint8_t Bytes __attribute__((vector_size(16)));
typedef uint16_t Shorts __attribute__((vector_size(16)));  // differences wrap around to their 16 bits with a sign
constexpr int64_t kColumns = 8;  // that are packed at a time

// The first n <= 8 bytes, zeros behind them.
inline Bytes load_bytes(const uint8_t* p, int64_t n) {
  uint64_t low = 0;
  std::memcpy(&low, p, static_cast<size_t>(n));
  typedef uint64_t Longs __attribute__((vector_size(16)));
  return (Bytes)Longs{low, 0};
}
inline Shorts widened(Bytes b) {
  return (Shorts)__builtin_shuffle(b, Bytes{}, Bytes{0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23});
}
inline void store_interleaved(Shorts a, Shorts b, void* to) {
  const Shorts low = __builtin_shuffle(a, b, Shorts{0, 8, 1, 9, 2, 10, 3, 11});
  const Shorts high = __builtin_shuffle(a, b, Shorts{4, 12, 5, 13, 6, 14, 7, 15});
  std::memcpy(to, &low, 16);
  std::memcpy(static_cast<char*>(to) + 16, &high, 16);
}

// Words of eight columns: group 2: rows - t in 16 bits, group 4: rows - 128 in 8.
inline void store_words(const Bytes (&rows)[2], Shorts t, void* to) {
  store_interleaved(widened(rows[0]) - t, widened(rows[1]) - t, to);
}
inline void store_words(const Bytes (&rows)[4], Shorts, void* to) {
  const Bytes order{0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23}, top = Bytes{} + static_cast<uint8_t>(0x80);
  store_interleaved((Shorts)(__builtin_shuffle(rows[0], rows[1], order) ^ top),
                    (Shorts)(__builtin_shuffle(rows[2], rows[3], order) ^ top), to);
}

// Words [first, last) of the first `width` of eight columns, `to_row` bytes apart, at most kWords; adds to the sum of
// each column.
constexpr int64_t kWords = 16;
template <int group>
void pack_columns(const uint8_t* b, int64_t depth, int64_t row, int64_t width, int64_t first, int64_t last, Shorts t,
                  char* to, int64_t to_row, int32_t* sums) {
  Shorts some{};  // 64 words of at most 4 * 255 would fit
  const auto word = [&](int64_t w, int64_t rows_left, int64_t n) __attribute__((always_inline)) {
    Bytes rows[group];
    for (int i = 0; i < group; ++i) {
      rows[i] = i < rows_left ? load_bytes(b + (w * group + i) * row, n) : Bytes{};
      some += widened(rows[i]);
    }
    store_words(rows, t, to + w * to_row);
  };
  int64_t w = first;
  if (width == kColumns)
    for (const int64_t whole = std::min(last, depth / group); w < whole; ++w) word(w, group, kColumns);
  for (; w < last; ++w) word(w, depth - w * group, width);
  for (int i = 0; i < kColumns; ++i) sums[i] += some[i];
}

// Panels of `tile` columns from the first `width` of b, and what the sums of their columns begin with.
template <int group>
void pack_panels(const uint8_t* b, int64_t depth, int64_t row, int64_t width, int64_t panels, int64_t tile,
                 int64_t words, int32_t a_zero, int32_t b_zero, char* to, int32_t* start) {
  const Shorts t = Shorts{} + static_cast<uint16_t>(b_zero);
  std::fill_n(start, panels * tile, 0);
  // A few rows of b at a time, so that a line of it is still in L1 for the columns that follow.
  for (int64_t first = 0; first < words; first += kWords)
    for (int64_t c = 0; c < panels * tile; c += kColumns)
      pack_columns<group>(b + c, depth, row, std::clamp<int64_t>(width - c, 0, kColumns), first,
                          std::min(first + kWords, words), t, to + (c / tile * words * tile + c % tile) * 4, tile * 4,
                          start + c);
  const int32_t zeros = static_cast<int32_t>(depth) * b_zero;
  for (int64_t c = 0; c < panels * tile; ++c) start[c] = c < width ? -a_zero * (start[c] - zeros) : 0;
}

// The panels of one matrix, as walk_block takes them; all columns have one scale and no bias.
struct Panels {
  const char* data;
  const int32_t* starts;
  const float *scales, *biases;
  int64_t bytes, tile;
  const char* panel(int64_t i) const { return data + i * bytes; }
  const int32_t* start(int64_t i) const { return starts + i * tile; }
  const float* scale(int64_t i) const { return scales + i * tile; }
  const float* bias(int64_t i) const { return biases + i * tile; }
};

MatmulShape joined(const Problem& p) {
  MatmulShape s(p);
  s.join_rows();
  return s;
}

class MatmulGemmU8Kernel : public Kernel {
 public:
  MatmulGemmU8Kernel(const Problem& p, const Constants& constants, const GemmU8& kernel)
      : shape_(joined(p)), operands_(p, constants), residual_(p.residual()), a_zero_(scale_in(constants, 0).zero),
        b_zero_(scale_in(constants, 1).zero), row_terms_(kernel.group == 4 && b_zero_ != 128),
        product_(kernel, shape_.rows, shape_.columns, 1, shape_.depth, shape_.columns, requantise(p, constants), true,
                 p.threads),
        padded_(product_.panels() * kernel.columns), finish_(best_ukernel<GemvU8>(PW_KIND_GEMV_U8, epilogue_act(p))),
        factors_(static_cast<size_t>(padded_ * 8)) {
    const float scale = scale_in(constants, 0).scale * scale_in(constants, 1).scale;
    std::fill_n(factors_.as<float>(), padded_, scale);
    std::fill_n(factors_.as<float>() + padded_, padded_, 0.0f);
    panel_ = product_.words * kernel.columns * 4;
    const int64_t panels = shape_.b_matrices * product_.panels();
    starts_at_ = round_up(panels * panel_, 64);
    areas_at_ = round_up(starts_at_ + panels * kernel.columns * 4, 64);
    areas_ = {product_.area() + (row_terms_ ? sums_bytes() + round_up(kernel.rows * 4, 64) : 0), p.threads};
  }

  int64_t phases() const override { return 2; }
  size_t workspace_bytes() const override { return static_cast<size_t>(areas_at_) + areas_.total(); }
  size_t packed_bytes() const override { return factors_.bytes(); }

  void run(const void* const* in, void* const* out, void* workspace, Team& team) noexcept override {
    auto* own = static_cast<char*>(workspace);
    if (team.phase == 0) {
      const auto* b = operands_.get<uint8_t>(1, in);
      // Neighbouring panels of a matrix, up to whole lines of b where there are enough pieces.
      const int64_t panels = product_.panels(), pieces = divide_up(4 * team.count, shape_.b_matrices);
      const int64_t run = std::clamp<int64_t>(panels / pieces, 1, std::max<int64_t>(1, 64 / product_.kernel->columns));
      const int64_t runs = divide_up(panels, run), all = shape_.b_matrices * runs;
      return team.each(all, std::max<int64_t>(1, all / (8 * team.count)), [&](int64_t first, int64_t last) {
        for (int64_t i = first; i < last; ++i) {
          const int64_t panel = i % runs * run;
          pack(b, i / runs, panel, std::min(run, panels - panel), own);
        }
      });
    }
    const auto* residual = operands_.get<uint8_t>(residual_, in);
    const int64_t blocks = product_.blocking.count(), results = shape_.rows * shape_.columns;
    // Small products are taken several at a time.
    const int64_t count = shape_.batch() * blocks, grain = std::max<int64_t>(1, count / (16 * team.count));
    char* area = areas_.own<char>(own + areas_at_, team);
    team.each(count, grain, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t n = i / blocks, a = shape_.a_index[static_cast<size_t>(n)] * shape_.rows * shape_.depth;
        one_block(operands_.get<uint8_t>(0, in) + a, shape_.b_index[static_cast<size_t>(n)] * product_.panels(), own,
                  i % blocks, static_cast<uint8_t*>(out[0]) + n * results, residual ? residual + n * results : nullptr,
                  area);
      }
    });
  }

 private:
  // Sums of a tile of rows in all panels of a block.
  int64_t sums_row() const { return product_.blocking.panels * product_.kernel->columns; }
  int64_t sums_bytes() const { return product_.kernel->rows * sums_row() * 4; }

  // Panels of one matrix.
  void pack(const uint8_t* b, int64_t matrix, int64_t first, int64_t count, char* own) const noexcept {
    const int64_t tile = product_.kernel->columns, at = first * tile, panel = matrix * product_.panels() + first;
    const auto pack = product_.kernel->group == 2 ? pack_panels<2> : pack_panels<4>;
    pack(b + matrix * shape_.depth * shape_.columns + at, shape_.depth, shape_.columns,
         std::min(count * tile, shape_.columns - at), count, tile, product_.words, a_zero_, b_zero_,
         own + panel * panel_, reinterpret_cast<int32_t*>(own + starts_at_) + panel * tile);
  }

  // `panel`: the first of this matrix of b.
  void one_block(const uint8_t* a, int64_t panel, const char* own, int64_t index, uint8_t* y, const uint8_t* residual,
                 char* area) const noexcept {
    const ProductU8& p = product_;
    const int64_t tile = p.kernel->columns;
    const auto* factors = factors_.as<float>();
    const Panels panels{own + panel * panel_, reinterpret_cast<const int32_t*>(own + starts_at_) + panel * tile,
                        factors, factors + padded_, panel_, tile};
    const auto fill = [&](int64_t row, int64_t rows, const void** to, char* scratch) {
      fill_rows(p, a, row, rows, to, scratch);
    };
    if (!row_terms_) return walk_block(p, panels, index, y, residual, area, fill);
    auto* sums = reinterpret_cast<int32_t*>(area + p.area());
    auto* terms = reinterpret_cast<int32_t*>(area + p.area() + sums_bytes());
    walk_block(p, panels, index, y, residual, area,
               [&](int64_t row, int64_t rows, const void** to, char* scratch) {
                 for (int64_t i = 0; i < rows; ++i) terms[i] = row_term(a + (row + i) * p.depth);
                 fill(row, rows, to, scratch);
               },
               [&](const GemmU8Args& args) { add_terms(args, terms, sums); });
  }

  int32_t row_term(const uint8_t* a) const noexcept {
    int32_t sum = 0;
    for (int64_t k = 0; k < shape_.depth; ++k) sum += a[k];
    return (128 - b_zero_) * sum;
  }

  void add_terms(GemmU8Args args, const int32_t* terms, int32_t* sums) const noexcept {
    uint8_t* c = args.c;
    const int64_t c_row = args.c_row;
    args.sums = sums;
    args.c_row = sums_row();
    product_.kernel->run(&args);
    for (int64_t i = 0; i < args.rows; ++i, sums += sums_row()) {
      // Sums may have wrapped around, so that they are added without a sign.
      for (int64_t j = 0; j < args.columns; ++j)
        sums[j] = static_cast<int32_t>(static_cast<uint32_t>(sums[j]) + static_cast<uint32_t>(terms[i]));
      const RowEndU8Args end{sums, args.scale, args.bias, args.residual ? args.residual + i * c_row : nullptr,
                             c + i * c_row, args.columns, args.out};
      finish_.finish(&end);
    }
  }

  MatmulShape shape_;
  Operands operands_;
  int residual_;
  int32_t a_zero_, b_zero_;
  bool row_terms_;
  ProductU8 product_;
  int64_t padded_;  // columns of all panels
  const GemvU8& finish_;
  Buffer factors_;  // of these: scale, bias
  ThreadAreas areas_;
  int64_t panel_ = 0, starts_at_ = 0, areas_at_ = 0;  // bytes
};

class MatmulGemmU8 : public Routine, public Estimating {
 public:
  MatmulGemmU8()
      : Routine({.id = "matmul/gemm:u8:plain:cpu", .version = 2, .accuracy = Accuracy::quantised, .takes_epilogue = true}) {}
  Verdict accepts(const Problem& p) const override {
    for (const char* kind : {PW_KIND_GEMM_U8, PW_KIND_GEMV_U8})
      if (Verdict v = accepts_matmul(p, kind); !v) return v;
    if (p.in[0].constant || p.in[1].constant) return Verdict::no("an operand is a constant");
    if (MatmulSizes(p).depth > kMostValueTerms)
      return Verdict::no(std::to_string(MatmulSizes(p).depth) + " terms may not fit a sum of 32 bits");
    return Verdict::ok();
  }
  std::vector<std::string> variants(const Problem& p) const override {
    return gemm_u8_variants(epilogue_act(p), SecondOperand::value);
  }
  Ports ports(const Problem& p) const override { return uniform_ports(p, Layout::nchw, DType::u8); }
  Estimate estimate(const Problem& p, const std::string& variant) const override {
    const MatmulSizes s(p);
    const bool joins = s.joins_rows();
    const int64_t batch = joins ? 1 : s.batch(), rows = joins ? s.rows * s.batch() : s.rows;
    Estimate e = product_u8_estimate({.rows = rows, .depth = s.depth, .columns = s.columns, .count = batch,
                                      .end = end_of(epilogue_act(p))}, variant);
    e.constants = 0;
    // Panels of b are written and read once more.
    const double b = static_cast<double>(s.b_matrices * s.depth * s.columns);
    e.work += kPacked * b;
    e.move(2 * b, b);
    // Most zero points give every row a term, with which sums are requantised on their own.
    if (gemm_u8_kernel(variant).group == 4)
      e.work += static_cast<double>(batch * rows) * (kOfRow * static_cast<double>(s.depth) + kOfSum * static_cast<double>(s.columns));
    e.phases = 2;
    return e;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string& variant, const Constants& c) const override {
    return std::make_unique<MatmulGemmU8Kernel>(p, c, gemm_u8_kernel(variant));
  }

 private:
  // Operations of bytes that packing an element of b takes, adding up one of a, and ending a sum.
  static constexpr double kPacked = 60, kOfRow = 8, kOfSum = 40;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<MatmulGemmU8>(); }
}  // namespace PW_COLLECT
}  // namespace pw
