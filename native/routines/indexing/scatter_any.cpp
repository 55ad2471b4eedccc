// scatter_elements and scatter_nd: a copy of a value with elements or slices of another one written, or combined, at indices.
// The output may take the place of the value: then nothing is copied. What is written to one place comes from one thread, in
// the order of the indices.
#include <cstring>

#include "values/numbers.h"
#include "values/strided.h"

namespace pw {
namespace {

enum class How { none, add, mul, max, min };

How how_of(const Problem& p) {
  const auto word = p.word("reduction");
  return word == "add" ? How::add : word == "mul" ? How::mul : word == "max" ? How::max : word == "min" ? How::min : How::none;
}

// What `a` becomes where `b` is written. NaN stays; integers wrap.
template <How H, class T>
T combined(T a, T b) noexcept {
  if constexpr (H == How::none) return b;
  else if constexpr (std::is_same_v<T, Bool>)
    return static_cast<Bool>(H == How::add || H == How::max ? static_cast<uint8_t>(a) | static_cast<uint8_t>(b)
                                                            : static_cast<uint8_t>(a) & static_cast<uint8_t>(b));
  else if constexpr (kHalf<T>)
    return number_as<T>(static_cast<double>(combined<H, float>(as_float(a), as_float(b))));
  else if constexpr (H == How::max) return a < b || b != b ? b : a;
  else if constexpr (H == How::min) return b < a || b != b ? b : a;
  else if constexpr (std::is_integral_v<T>)
    return static_cast<T>(H == How::add ? static_cast<uint64_t>(a) + static_cast<uint64_t>(b)
                                        : static_cast<uint64_t>(a) * static_cast<uint64_t>(b));
  else return H == How::add ? a + b : a * b;
}

// n results, side by side.
template <How H, class T>
void combine_run(T* __restrict y, const T* __restrict u, int64_t n) noexcept {
  if constexpr (H == How::none) std::memcpy(y, u, static_cast<size_t>(n) * sizeof(T));
  else for (int64_t i = 0; i < n; ++i) y[i] = combined<H>(y[i], u[i]);
}

// Calls body with a tag of the way and of the element: elements that are only moved as integers of their size.
template <class Body>
int with_way(How how, DType dtype, Body&& body) {
  if (how == How::none)
    return with_bytes(size_of(dtype), [&](auto unit) { return body.template operator()<How::none, decltype(unit)>(); });
  return with_type(dtype, [&](auto tag) {
    using T = typename decltype(tag)::type;
    switch (how) {
      case How::add: return body.template operator()<How::add, T>();
      case How::mul: return body.template operator()<How::mul, T>();
      case How::max: return body.template operator()<How::max, T>();
      default: return body.template operator()<How::min, T>();
    }
  });
}

void copy_bytes(const void* from, void* to, int64_t bytes, Team& team) noexcept {
  if (from == to) return;
  in_pieces(team, bytes, 4096, bytes / 4, [&](int64_t first, int64_t last) {
    std::memcpy(static_cast<char*>(to) + first, static_cast<const char*>(from) + first, static_cast<size_t>(last - first));
  });
}

// Base of the kernels of both.
class ScatterKernel : public AnyKernel {
 public:
  ScatterKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), dtype_(p.in[0].dtype), how_(how_of(p)) {}
  int64_t phases() const override { return 2; }

 protected:
  DType dtype_;
  How how_;
};

// The first phase copies, the second one writes: pieces are places beside the axis.
template <class Index>
class ElementsKernel : public ScatterKernel {
 public:
  ElementsKernel(const Problem& p, const Constants& constants)
      : ScatterKernel(p, constants), axis_(static_cast<int>(p.integer("axis"))) {
    if (axis_ < 0) axis_ += static_cast<int>(p.in[0].shape.size());
  }
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c), indices = operands_.in(1, c), updates = operands_.in(2, c);
    if (c.team.phase == 0) {
      copy_bytes(x.data, c.out[0], x.count() * static_cast<int64_t>(size_of(dtype_)), c.team);
      return 0;
    }
    return with_way(how_, dtype_, [&]<How H, class T>() {
      return scatter<H, T>(x, indices, updates.as<T>(), static_cast<T*>(c.out[0]), c.team);
    });
  }

 private:
  template <How H, class T>
  int scatter(const Operand& x, const Operand& at, const T* u, T* y, Team& team) const noexcept {
    int64_t own[kMostRank], step[kMostRank];
    steps_of(x, own);
    steps_of(at, step);
    Loops<2> outer, inner;  // over (indices and updates, the value)
    for (int i = 0; i < axis_; ++i) outer.add(at.size[i], {step[i], own[i]});
    for (int i = axis_ + 1; i < at.rank; ++i) inner.add(at.size[i], {step[i], own[i]});
    const int64_t length = x.size[axis_], stride = own[axis_], count = at.size[axis_], next = step[axis_];
    const int64_t columns = inner.total;
    const int64_t run = inner.count ? inner.loop[inner.count - 1].step[0] : 1;
    const int64_t own_run = inner.count ? inner.loop[inner.count - 1].step[1] : 1;
    const auto* indices = at.as<Index>();
    bool outside = false;
    const auto write = [&](int64_t from, int64_t to) {
      int64_t i = indices[from];
      i += i < 0 ? length : 0;
      if (i < 0 || i >= length) outside = true;
      else y[to + i * stride] = combined<H>(y[to + i * stride], u[from]);
    };
    const int64_t places = outer.total * columns;
    in_pieces(team, places, columns >= 256 ? 64 : 1, places * count, [&](int64_t first, int64_t last) {
      for (int64_t p = first; p < last;) {
        const int64_t o = p / columns, c0 = p - o * columns, c1 = std::min(columns, c0 + last - p);
        int64_t start[2];
        start_of(outer, o, start);
        for (int64_t k = 0; k < count; ++k, start[0] += next) {
          if (columns == 1) {
            write(start[0], start[1]);
            continue;
          }
          walk(inner, c0, c1, [&](const int64_t* offset, int64_t n) {
            for (int64_t j = 0; j < n; ++j) write(start[0] + offset[0] + j * run, start[1] + offset[1] + j * own_run);
          });
        }
        p += c1 - c0;
      }
    });
    return outside ? kOutside : 0;
  }

  int axis_;
};

// The first phase finds where each slice goes, the second one copies and writes: a piece is a part of the output.
class VectorsKernel : public ScatterKernel {
 public:
  VectorsKernel(const Problem& p, const Constants& constants)
      : ScatterKernel(p, constants) {
    for (size_t i = 0; i + 1 < p.in[1].shape.size(); ++i) most_ *= p.in[1].shape[i];
  }
  size_t workspace_bytes() const override { return static_cast<size_t>(most_) * sizeof(int64_t); }
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c), indices = operands_.in(1, c), updates = operands_.in(2, c);
    auto* places = static_cast<int64_t*>(c.workspace);
    const auto depth = static_cast<int>(indices.size[indices.rank - 1]);
    const int64_t count = indices.count() / std::max(1, depth);
    if (c.team.phase == 0) return find(x, indices.as<int64_t>(), depth, places, count, c.team);
    return with_way(how_, dtype_, [&]<How H, class T>() {
      scatter<H, T>(x, depth, places, count, updates.as<T>(), static_cast<T*>(c.out[0]), c.team);
      return 0;
    });
  }

 private:
  int find(const Operand& x, const int64_t* indices, int depth, int64_t* places, int64_t count, Team& team) const noexcept {
    int64_t step[kMostRank];
    steps_of(x, step);
    bool outside = false;
    in_pieces(team, count, 64, count * depth, [&](int64_t first, int64_t last) {
      for (int64_t t = first; t < last; ++t) {
        int64_t place = 0;
        bool inside = true;
        for (int k = 0; k < depth; ++k) {
          int64_t i = indices[t * depth + k];
          i += i < 0 ? x.size[k] : 0;
          if (i < 0 || i >= x.size[k]) inside = false;
          else place += i * step[k];
        }
        places[t] = inside ? place : -1;
        outside = outside || !inside;
      }
    });
    return outside ? kOutside : 0;
  }
  template <How H, class T>
  void scatter(const Operand& x, int depth, const int64_t* places, int64_t count, const T* u, T* y, Team& team) const noexcept {
    int64_t slice = 1;
    for (int i = depth; i < x.rank; ++i) slice *= x.size[i];
    const int64_t all = x.count();
    const bool copies = x.data != y;
    const int64_t work = (copies ? all : 0) + count * slice;
    // Each piece looks at all places: not more pieces than threads.
    const int64_t pieces = work < kShared ? 1 : team.count;
    team.each(all, std::max<int64_t>(64, (all + pieces - 1) / pieces), [&](int64_t first, int64_t last) {
      if (copies) std::memcpy(y + first, x.as<T>() + first, static_cast<size_t>(last - first) * sizeof(T));
      for (int64_t t = 0; t < count; ++t) {
        const int64_t a = std::max(places[t], first), b = std::min(places[t] + slice, last);
        if (a < b && places[t] >= 0) combine_run<H>(y + a, u + t * slice + (a - places[t]), b - a);
      }
    });
  }

  int64_t most_ = 1;  // vectors
};

class Scatter : public AnyRoutine {
 public:
  explicit Scatter(const std::string& layer) : AnyRoutine(layer, "places") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 3) return Verdict::no("it takes a value, indices and updates");
    if (p.epilogue) return Verdict::no("it takes no epilogue");
    if (p.in[1].dtype != DType::i32 && p.in[1].dtype != DType::i64) return Verdict::no("the indices are neither i32 nor i64");
    return basics(p);
  }
  Ports ports(const Problem& p) const override {
    Ports ports = AnyRoutine::ports(p);
    if (!p.in[0].constant) ports.reuse.push_back({0, 0});
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    if (p.kind == "scatter_nd") return std::make_unique<VectorsKernel>(p, constants);
    if (p.in[1].dtype == DType::i32) return std::make_unique<ElementsKernel<int32_t>>(p, constants);
    return std::make_unique<ElementsKernel<int64_t>>(p, constants);
  }
};

// A cache with an update written along an axis, from an index of each batch on. Pieces are rows behind the axis.
class CacheKernel : public AnyKernel {
 public:
  CacheKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), axis_(static_cast<int>(p.integer("axis"))), bytes_(size_of(p.in[0].dtype)),
        circular_(p.word("mode") == "circular"), starts_(p.has(2)) {
    if (axis_ < 0) axis_ += static_cast<int>(p.in[0].shape.size());
  }
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c), update = operands_.in(1, c);
    const int64_t* starts = starts_ ? operands_.in(2, c).as<int64_t>() : nullptr;
    int64_t each = 1, row = static_cast<int64_t>(bytes_);  // caches of one batch, bytes behind the axis
    for (int i = 1; i < axis_; ++i) each *= x.size[i];
    for (int i = axis_ + 1; i < x.rank; ++i) row *= x.size[i];
    const int64_t batch = x.size[0], length = x.size[axis_], count = update.size[axis_];
    const auto *from = x.as<char>(), *with = update.as<char>();
    auto* to = static_cast<char*>(c.out[0]);
    const bool copies = from != to;
    bool outside = false;
    const int64_t rows = batch * each * length, moved = copies ? rows : batch * each * count;
    in_pieces(c.team, rows, 1, moved * row / 4, [&](int64_t first, int64_t last) {
      for (int64_t r = first; r < last;) {
        const int64_t cache = r / length, r0 = r - cache * length, r1 = std::min(length, r0 + last - r);
        r += r1 - r0;
        int64_t start = starts ? starts[cache / each] : 0;
        if (circular_) start = (start % length + length) % length;
        else if (start < 0 || start > length - count) { outside = true; continue; }
        const auto copy = [&](const char* source, int64_t a, int64_t b, int64_t shift) {
          a = std::max(a, r0), b = std::min(b, r1);
          const auto bytes = static_cast<size_t>((b - a) * row);
          if (a < b) std::memcpy(to + (cache * length + a) * row, source + (a - shift) * row, bytes);
        };
        const char *old = from + cache * length * row, *fresh = with + cache * count * row;
        const int64_t end = start + count, around = std::max<int64_t>(0, end - length);
        copy(fresh, 0, around, start - length);
        copy(fresh, start, std::min(end, length), start);
        if (copies) copy(old, around, start, 0), copy(old, end, length, 0);
      }
    });
    return outside ? kOutside : 0;
  }

 private:
  int axis_;
  size_t bytes_;
  bool circular_, starts_;
};

class Cache : public AnyRoutine {
 public:
  Cache() : AnyRoutine("tensor_scatter", "rows") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.size() < 2 || p.in.size() > 3) return Verdict::no("it takes a cache, an update and indices");
    return basics(p);
  }
  Ports ports(const Problem& p) const override {
    Ports ports = AnyRoutine::ports(p);
    if (!p.in[0].constant) ports.reuse.push_back({0, 0});
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<CacheKernel>(p, constants);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (const char* layer : {"scatter_elements", "scatter_nd"}) c.add<Scatter>(layer);
  c.add<Cache>();
}
}  // namespace PW_COLLECT

}  // namespace pw
