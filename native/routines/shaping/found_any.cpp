// reshape, expand, tile and slice of elements of any type, where the numbers that say the sizes are values that are there in
// the run alone. Elements are copied.
#include "routines/shaping/moves.h"
#include "values/found.h"

namespace pw {
namespace {

// Elements [first, last) along loops over (x, y).
void copy_part(size_t bytes, const Loops<2>& loops, const void* x, void* y, int64_t first, int64_t last) noexcept {
  const int64_t x_step = loops.count ? loops.loop[loops.count - 1].step[0] : 1;
  const int64_t y_step = loops.count ? loops.loop[loops.count - 1].step[1] : 1;
  with_bytes(bytes, [&](auto unit) {
    using T = decltype(unit);
    walk(loops, first, last, [&](const int64_t* offset, int64_t n) {
      copy_run(static_cast<const T*>(x) + offset[0], x_step, static_cast<T*>(y) + offset[1], y_step, n);
    });
  });
}

class ReshapeKernel : public FoundKernel {
 public:
  ReshapeKernel(const Problem& p, const Constants& constants)
      : FoundKernel(p, constants), shape_(p, 1, "shape"), allow_zero_(p.integer("allowzero") != 0) {}

 protected:
  int find(const Context& c, int64_t* sizes) const noexcept override {
    const Operand x = operands_.in(0, c);
    if (shape_.count(operands_, c) != rank_) return kMisfit;
    int rest = -1;
    int64_t known = 1;
    for (int i = 0; i < rank_; ++i) {
      int64_t n = shape_.at(operands_, c, i);
      if (n == 0 && !allow_zero_) {
        if (i >= x.rank) return kMisfit;
        n = x.size[i];
      }
      if (n == -1) {
        if (rest >= 0) return kMisfit;
        rest = i;
        continue;
      }
      if (n < 0 || __builtin_mul_overflow(known, n, &known)) return kMisfit;
      sizes[i] = n;
    }
    const int64_t all = x.count();
    if (rest >= 0) {
      if (known == 0 || all % known != 0) return kMisfit;
      sizes[rest] = all / known;
      return 0;
    }
    return known == all ? 0 : kMisfit;
  }
  void write(const Context& c, void* y, int64_t first, int64_t last) const noexcept override {
    const auto unit = static_cast<int64_t>(bytes_);
    std::memcpy(static_cast<char*>(y) + first * unit, operands_.in(0, c).as<char>() + first * unit,
                static_cast<size_t>((last - first) * unit));
  }

 private:
  RunIntegers shape_;
  bool allow_zero_;
};

class ExpandKernel : public FoundKernel {
 public:
  ExpandKernel(const Problem& p, const Constants& constants) : FoundKernel(p, constants), shape_(p, 1, "shape") {}

 protected:
  int find(const Context& c, int64_t* sizes) const noexcept override {
    const Operand x = operands_.in(0, c);
    const int64_t count = shape_.count(operands_, c);
    if (std::max<int64_t>(count, x.rank) != rank_) return kMisfit;
    for (int i = 0; i < rank_; ++i) {
      const int a = i - (rank_ - x.rank);
      const int64_t b = i - (rank_ - count), own = a < 0 ? 1 : x.size[a], asked = b < 0 ? 1 : shape_.at(operands_, c, b);
      if (own != asked && own != 1 && asked != 1) return kMisfit;
      sizes[i] = own == 1 ? asked : own;
    }
    return 0;
  }
  void write(const Context& c, void* to, int64_t first, int64_t last) const noexcept override {
    const Operand x = operands_.in(0, c);
    Loops<2> loops;
    broadcast_loops<1>(&x, operands_.out(0, c), loops);
    copy_part(bytes_, loops, x.data, to, first, last);
  }

 private:
  RunIntegers shape_;
};

class TileKernel : public FoundKernel {
 public:
  TileKernel(const Problem& p, const Constants& constants) : FoundKernel(p, constants), repeats_(p, 1, "repeats") {}

 protected:
  int find(const Context& c, int64_t* sizes) const noexcept override {
    const Operand x = operands_.in(0, c);
    if (repeats_.count(operands_, c) != x.rank || x.rank != rank_) return kMisfit;
    for (int i = 0; i < rank_; ++i)
      if (__builtin_mul_overflow(x.size[i], repeats_.at(operands_, c, i), &sizes[i])) return kMisfit;
    return 0;
  }
  void write(const Context& c, void* y, int64_t first, int64_t last) const noexcept override {
    const Operand x = operands_.in(0, c), all = operands_.out(0, c);
    int64_t from[kMostRank], to[kMostRank];
    steps_of(x, from);
    steps_of(all, to);
    Loops<2> loops;
    for (int i = 0; i < rank_; ++i) {
      loops.add(repeats_.at(operands_, c, i), {0, to[i] * x.size[i]});
      loops.add(x.size[i], {from[i], to[i]});
    }
    copy_part(bytes_, loops, x.data, y, first, last);
  }

 private:
  RunIntegers repeats_;
};

class SliceKernel : public FoundKernel {
 public:
  SliceKernel(const Problem& p, const Constants& constants)
      : FoundKernel(p, constants), starts_(p, 1, "starts"), ends_(p, 2, "ends"), axes_(p, 3, "axes"), steps_(p, 4, "steps") {}

 protected:
  int find(const Context& c, int64_t* sizes) const noexcept override {
    Part parts[kMostRank];
    if (!parts_of(c, parts)) return kMisfit;
    for (int i = 0; i < rank_; ++i) sizes[i] = parts[i].count;
    return 0;
  }
  void write(const Context& c, void* y, int64_t first, int64_t last) const noexcept override {
    const Operand x = operands_.in(0, c);
    int64_t from[kMostRank], to[kMostRank];
    Part parts[kMostRank];
    steps_of(x, from);
    steps_of(operands_.out(0, c), to);
    parts_of(c, parts);
    Loops<2> loops;
    for (int i = 0; i < rank_; ++i) {
      loops.start[0] += parts[i].start * from[i];
      loops.add(parts[i].count, {from[i] * parts[i].step, to[i]});
    }
    copy_part(bytes_, loops, x.data, y, first, last);
  }

 private:
  struct Part {
    int64_t start, step, count;
  };

  // What is taken along each axis; false where the numbers are none of a slice.
  bool parts_of(const Context& c, Part* parts) const noexcept {
    const Operand x = operands_.in(0, c);
    const int64_t count = starts_.count(operands_, c), axes = axes_.count(operands_, c), steps = steps_.count(operands_, c);
    if (x.rank != rank_ || count > rank_ || ends_.count(operands_, c) != count) return false;
    if ((axes && axes != count) || (steps && steps != count)) return false;
    uint64_t seen = 0;
    for (int i = 0; i < rank_; ++i) parts[i] = {0, 1, x.size[i]};
    for (int64_t k = 0; k < count; ++k) {
      int64_t axis = axes ? axes_.at(operands_, c, k) : k;
      axis += axis < 0 ? rank_ : 0;
      if (axis < 0 || axis >= rank_ || (seen >> axis & 1)) return false;
      seen |= uint64_t{1} << axis;
      const int64_t n = x.size[axis];
      // A larger step takes no more than one of this size.
      const int64_t step = std::clamp<int64_t>(steps ? steps_.at(operands_, c, k) : 1, -n - 1, n + 1);
      if (step == 0) return false;
      const int64_t low = step > 0 ? 0 : -1, high = step > 0 ? n : n - 1;
      int64_t start = starts_.at(operands_, c, k), end = ends_.at(operands_, c, k);
      start = std::min(std::max<int64_t>(start < 0 ? start + n : start, 0), high);
      end = std::min(std::max(end < 0 ? end + n : end, low), high);
      const int64_t span = step > 0 ? end - start : start - end, stride = step > 0 ? step : -step;
      parts[axis] = {std::max<int64_t>(0, start), step, n == 0 || span <= 0 ? 0 : (span + stride - 1) / stride};
    }
    return true;
  }

  RunIntegers starts_, ends_, axes_, steps_;
};

template <class K>
class Found : public AnyRoutine {
 public:
  // `inputs`: how many there may be, numbers among them.
  Found(const std::string& layer, size_t inputs) : AnyRoutine(layer, "found"), inputs_(inputs) {}
  Verdict accepts(const Problem& p) const override {
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    bool given = false;
    for (size_t i = 1; i < p.in.size(); ++i) given = given || p.in[i].present;
    if (!given || p.in.size() > inputs_) return Verdict::no("its sizes are attributes");
    for (size_t i = 1; i < p.in.size(); ++i)
      if (auto verdict = RunIntegers::accepts(p, i); !verdict) return verdict;
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<K>(p, constants);
  }

 private:
  size_t inputs_;
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  c.add<Found<ReshapeKernel>>("reshape", 2);
  c.add<Found<ExpandKernel>>("expand", 2);
  c.add<Found<TileKernel>>("tile", 2);
  c.add<Found<SliceKernel>>("slice", 5);
}
}  // namespace PW_COLLECT

}  // namespace pw
