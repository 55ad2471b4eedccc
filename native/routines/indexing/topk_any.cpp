// topk of numbers of any element type along any axis: the best elements of a line are kept in a heap, or told from the others
// by a partition where they are many, and sorted at the end. NaN is the largest number; the lower index comes first of two
// equal elements. The number may be a value: then a run finds out how large the outputs are.
#include "values/found.h"
#include "routines/indexing/lines.h"

namespace pw {
namespace {

// Lines that lie in columns are copied so many at a time.
constexpr int64_t kTogether = 8;
// A line of at least so many elements is shared out where there are fewer lines than threads.
constexpr int64_t kLong = 1 << 15;

template <class V>
struct Entry {
  V value;
  int64_t index;
};
constexpr size_t kEntryBytes = 16;

template <bool Largest, class V>
bool ahead(V a, V b) noexcept {
  if constexpr (Largest) return a > b || (a != a && b == b);
  else return a < b || (a == a && b != b);
}
template <bool Largest, class V>
bool comes_first(const Entry<V>& a, const Entry<V>& b) noexcept {
  return ahead<Largest>(a.value, b.value) || (!ahead<Largest>(b.value, a.value) && a.index < b.index);
}

// The best k of a row of n, whose first index is `base`, in order; `room` holds n entries, or k where k is at most n / 16.
template <bool Largest, class T>
void select(const T* row, int64_t n, int64_t k, int64_t base, Entry<decltype(compared(T{}))>* room) noexcept {
  using V = decltype(compared(T{}));
  constexpr int64_t kBlock = 64;
  if (k <= 0) return;
  const auto first = [](const Entry<V>& a, const Entry<V>& b) { return comes_first<Largest>(a, b); };
  if (k > n / 16) {
    for (int64_t i = 0; i < n; ++i) room[i] = {compared(row[i]), base + i};
    if (k < n) std::nth_element(room, room + k - 1, room + n, first);
    std::sort(room, room + k, first);
    return;
  }
  for (int64_t i = 0; i < k; ++i) room[i] = {compared(row[i]), base + i};
  std::make_heap(room, room + k, first);  // the worst one on top
  for (int64_t i = k; i < n; i += kBlock) {
    const int64_t end = std::min(n, i + kBlock);
    const V worst = room[0].value;
    int any = 0;
    for (int64_t j = i; j < end; ++j) any |= ahead<Largest>(V{compared(row[j])}, worst);
    if (!any) continue;
    for (int64_t j = i; j < end; ++j) {
      const V v = compared(row[j]);
      if (!ahead<Largest>(v, room[0].value)) continue;
      std::pop_heap(room, room + k, first);
      room[k - 1] = {v, base + j};
      std::push_heap(room, room + k, first);
    }
  }
  std::sort_heap(room, room + k, first);
}

class TopKernel : public AnyKernel {
 public:
  TopKernel(const Problem& p, const Constants& constants)
      : AnyKernel(p, constants, Layout::nchw), axis_(axis_from_front(p)), dtype_(p.in[0].dtype),
        largest_(p.integer("largest") != 0), given_(p.has(1)), threads_(p.threads),
        length_(p.in[0].shape[static_cast<size_t>(axis_)]), bytes_(size_of(dtype_)) {
    lines_ = length_ ? p.in[0].count() / length_ : 0;
    apart_ = p.threads > 1 && length_ >= kLong && lines_ < p.threads;
  }
  // Places of the outputs and the number; entries of parts of long lines; and room for each thread.
  int64_t phases() const override { return 1 + (given_ ? 1 : 0) + (apart_ ? 1 : 0); }
  size_t workspace_bytes() const override {
    return kHead + static_cast<size_t>(parts_bytes() + threads_ * room_bytes());
  }
  int run(const Context& c) noexcept override {
    const Operand x = operands_.in(0, c);
    const Along a(x, axis_);
    int code = 0;
    if (given_ && c.team.phase == 0) {
      c.team.each(1, 1, [&](int64_t, int64_t) { code = find_sizes(x, c); });
      return code;
    }
    const bool parts = apart_ && c.team.phase + 2 == phases();
    with_type(dtype_, [&](auto tag) {
      using T = typename decltype(tag)::type;
      if (largest_ && parts) take_parts<true>(x.as<T>(), a, c);
      else if (parts) take_parts<false>(x.as<T>(), a, c);
      else if (largest_) finish<true>(x.as<T>(), a, c);
      else finish<false>(x.as<T>(), a, c);
    });
    return 0;
  }

 private:
  static constexpr size_t kHead = 64;
  struct Head {
    void* values;
    int64_t* indices;
    int64_t k;
  };

  int64_t parts_bytes() const { return apart_ ? lines_ * (length_ / 4 + 1) * static_cast<int64_t>(kEntryBytes) : 0; }
  // Entries of one line, and a few lines that lay in columns.
  int64_t room_bytes() const {
    const int64_t bytes = length_ * static_cast<int64_t>(kEntryBytes + kTogether * bytes_);
    return (bytes + 63) / 64 * 64;
  }
  Head head(const Context& c) const noexcept {
    if (given_) return *static_cast<const Head*>(c.workspace);
    return {c.out[0], static_cast<int64_t*>(c.out[1]), c.out_sizes[0][axis_]};
  }
  char* part_room(const Context& c) const noexcept { return static_cast<char*>(c.workspace) + kHead; }
  char* room(const Context& c) const noexcept { return part_room(c) + parts_bytes() + c.team.index * room_bytes(); }

  int find_sizes(const Operand& x, const Context& c) const noexcept {
    int64_t sizes[kMostRank];
    *static_cast<Head*>(c.workspace) = {};  // nothing, where it fails
    std::copy(x.size, x.size + x.rank, sizes);
    sizes[axis_] = *operands_.in(1, c).as<int64_t>();
    if (sizes[axis_] > x.size[axis_]) return kMisfit;
    int code = 0;
    void* values = found_output(c, 0, sizes, x.rank, bytes_, code);
    void* indices = values ? found_output(c, 1, sizes, x.rank, sizeof(int64_t), code) : nullptr;
    if (code) return code;
    *static_cast<Head*>(c.workspace) = {values, static_cast<int64_t*>(indices), sizes[axis_]};
    return 0;
  }
  // Into how many parts a line is cut.
  int64_t parts_of(const Along& a, int64_t k) const noexcept {
    if (!apart_ || a.length < kLong || a.inner > 1) return 1;
    return std::max<int64_t>(1, std::min(threads_, a.length / (4 * std::max<int64_t>(1, k))));
  }
  // The best of each part of each line.
  template <bool Largest, class T>
  void take_parts(const T* x, const Along& a, const Context& c) const noexcept {
    using V = decltype(compared(T{}));
    // Of a number that is a value nothing may be looked at outside of pieces: as many as there may be.
    c.team.each(a.outer * threads_, 1, [&](int64_t first, int64_t last) {
      const int64_t k = head(c).k, parts = parts_of(a, k);
      if (parts < 2) return;
      auto* own = reinterpret_cast<Entry<V>*>(room(c));
      for (int64_t i = first; i < last; ++i) {
        const int64_t o = i / threads_, part = i % threads_;
        if (part >= parts) continue;
        const int64_t from = a.length * part / parts, to = a.length * (part + 1) / parts;
        select<Largest>(x + o * a.length + from, to - from, std::min(k, to - from), from, own);
        auto* kept = reinterpret_cast<Entry<V>*>(part_room(c)) + o * (length_ / 4 + 1) + part * k;
        std::copy(own, own + std::min(k, to - from), kept);
      }
    });
  }
  template <bool Largest, class T>
  void finish(const T* x, const Along& a, const Context& c) const noexcept {
    using V = decltype(compared(T{}));
    const int64_t groups = a.inner == 1 ? 1 : (a.inner + kTogether - 1) / kTogether;
    in_pieces(c.team, a.outer * groups, 1, a.outer * a.inner * a.length * 4, [&](int64_t first, int64_t last) {
      const Head to = head(c);
      const int64_t k = to.k, parts = parts_of(a, k);
      auto* entries = reinterpret_cast<Entry<V>*>(room(c));
      T* columns = reinterpret_cast<T*>(room(c) + length_ * static_cast<int64_t>(kEntryBytes));
      for (int64_t i = first; i < last; ++i) {
        const int64_t o = i / groups, c0 = i % groups * kTogether, n = a.inner == 1 ? 1 : std::min(kTogether, a.inner - c0);
        const T* from = x + o * a.length * a.inner + c0;
        for (int64_t r = 0; a.inner > 1 && r < a.length; ++r)
          for (int64_t j = 0; j < n; ++j) columns[j * a.length + r] = from[r * a.inner + j];
        for (int64_t j = 0; j < n; ++j) {
          const T* row = a.inner == 1 ? from : columns + j * a.length;
          const auto* kept = reinterpret_cast<Entry<V>*>(part_room(c)) + o * (length_ / 4 + 1);
          if (parts > 1) merge<Largest>(kept, parts * k, k, entries);
          else select<Largest>(row, a.length, k, 0, entries);
          for (int64_t q = 0; q < k; ++q) {
            const int64_t at = (o * k + q) * a.inner + c0 + j;
            static_cast<T*>(to.values)[at] = row[entries[q].index];
            to.indices[at] = entries[q].index;
          }
        }
      }
    });
  }
  // The best k of those of all parts.
  template <bool Largest, class V>
  static void merge(const Entry<V>* kept, int64_t n, int64_t k, Entry<V>* room) noexcept {
    const auto first = [](const Entry<V>& a, const Entry<V>& b) { return comes_first<Largest>(a, b); };
    std::partial_sort_copy(kept, kept + n, room, room + k, first);
  }

  int axis_;
  DType dtype_;
  bool largest_, given_, apart_;
  int64_t threads_, length_, lines_;
  size_t bytes_;
};

class Top : public AnyRoutine {
 public:
  Top() : AnyRoutine("topk", "sort") {}
  Verdict accepts(const Problem& p) const override {
    if (p.in.empty() || p.in.size() > 2) return Verdict::no("it takes a value and a number");
    if (p.has(1) && (p.in[1].dtype != DType::i64 || p.in[1].count() != 1)) return Verdict::no("the number is not one i64");
    return basics(p);
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    return std::make_unique<TopKernel>(p, constants);
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) { c.add<Top>(); }
}  // namespace PW_COLLECT

}  // namespace pw
