// cache_append/rows: a cache of any element type with new rows behind those that it holds.
#include <cstring>

#include "values/strided.h"

namespace pw {
namespace {

class AppendKernel : public AnyKernel {
 public:
  AppendKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), bytes_(static_cast<int64_t>(size_of(p.out[0].dtype))),
        wide_(p.in[2].dtype == DType::i64), inside_(p.integer("inside") != 0) {}

  int run(const Context& c) noexcept override {
    const Operand cache = operands_.in(0, c), rows = operands_.in(1, c), lengths = operands_.in(2, c);
    const int64_t groups = cache.size[1], held = cache.size[2], row = cache.size[3] * bytes_, room = c.out_sizes[0][2];
    const int64_t count = rows.size[inside_ ? 1 : 2], pairs = cache.size[0] * groups;
    const int64_t step = inside_ ? groups * row : row;
    bool outside = false;
    in_pieces(c.team, pairs, 1, pairs * room * row / 4, [&](int64_t first, int64_t last) {
      for (int64_t i = first; i < last; ++i) {
        const int64_t b = i / groups, g = i % groups;
        const int64_t given = wide_ ? lengths.as<int64_t>()[b] : lengths.as<int32_t>()[b];
        if (given > room) {
          outside = true;
          continue;
        }
        const int64_t end = std::max<int64_t>(0, given), added = std::min(count, end), begin = end - added;
        char* to = static_cast<char*>(c.out[0]) + i * room * row;
        const char* from = cache.as<char>() + i * held * row;
        const bool in_place = to == from && held == room;  // the output overwrites the cache
        if (!in_place) copy(to, from, 0, std::min(begin, held), row);
        zero(to, held, begin, row);
        const char* own = rows.as<char>() + (inside_ ? b * count * step + g * row : i * count * row);
        for (int64_t k = 0; k < added; ++k, own += step) std::memcpy(to + (begin + k) * row, own, static_cast<size_t>(row));
        if (!in_place) copy(to, from, end, held, row);
        zero(to, std::max(end, held), room, row);
      }
    });
    return outside ? kOutside : 0;
  }

 private:
  static void copy(char* to, const char* from, int64_t first, int64_t last, int64_t row) {
    if (last > first) std::memcpy(to + first * row, from + first * row, static_cast<size_t>((last - first) * row));
  }
  static void zero(char* to, int64_t first, int64_t last, int64_t row) {
    if (last > first) std::memset(to + first * row, 0, static_cast<size_t>((last - first) * row));
  }
  int64_t bytes_;
  bool wide_, inside_;
};

class AppendRows : public AnyRoutine {
 public:
  AppendRows() : AnyRoutine("cache_append", "rows") {}
  Verdict accepts(const Problem& p) const override {
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    if (p.has(3)) return Verdict::no("the total length is a value");
    return basics(p);
  }
  Ports ports(const Problem& p) const override {
    Ports ports = AnyRoutine::ports(p);
    if (!p.in[0].constant && p.in[0].shape == p.out[0].shape) ports.reuse.push_back({0, 0});
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<AppendKernel>(p, constants);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<AppendRows>(); }
}  // namespace PW_COLLECT

}  // namespace pw
