// concat, split and slice: rectangular copies. A copy between two places that are one is skipped: an input of a concat
// may lie inside its output, an output of a split or slice inside the input.
#include <algorithm>
#include <cstring>

#include "base/buffer.h"
#include "routines/shaping/strips.h"
#include "spi/rooms.h"
#include "values/strided.h"

namespace pw {
namespace {

template <class T>
void copy_strip(const Strip& s, const T* source, T* target, Team& team) noexcept {
  source += s.source_offset;
  target += s.target_offset;
  if (source == target) return;
  share_rows(team, 1, s.rows, s.length, [&](int64_t, int64_t r0, int64_t r1, int64_t c0, int64_t c1) {
    const bool dense = s.source_row == s.length && s.target_row == s.length && c1 - c0 == s.length;
    if (dense) {
      std::memcpy(target + r0 * s.length, source + r0 * s.length, static_cast<size_t>((r1 - r0) * s.length) * sizeof(T));
      return;
    }
    for (int64_t r = r0; r < r1; ++r)
      std::memcpy(target + r * s.target_row + c0, source + r * s.source_row + c0, static_cast<size_t>(c1 - c0) * sizeof(T));
  });
}

template <class T>
constexpr int64_t kSizeOf = sizeof(T);

// As cut_at, at the sizes of a run; not of channels in blocks.
Cut cut_in_run(Layout layout, const int64_t* size, size_t rank, size_t axis) noexcept {
  Cut cut;
  bool found = false;
  for (size_t i = 0; i < rank; ++i) {
    const auto d = static_cast<size_t>(axis_in_memory(layout, static_cast<int>(i)));
    found = found || d == axis;
    (found ? cut.run : cut.outer) *= size[d];
  }
  return cut;
}

// The axis of a problem with this value in whole.
size_t axis_of(const Problem& p, const Tensor& whole) {
  const int64_t axis = p.integer("axis");
  return static_cast<size_t>(axis < 0 ? axis + static_cast<int64_t>(whole.shape.size()) : axis);
}

// A constant in the order that a layout has.
Buffer laid(const float* data, Layout layout, const Dims& shape) {
  Buffer copy(static_cast<size_t>(count(shape)) * 4);
  float* y = copy.as<float>();
  if (layout == Layout::plain || layout == Layout::nchw) {
    std::memcpy(y, data, copy.bytes());
    return copy;
  }
  const int64_t channels = shape[1], pixels = shape[2] * shape[3], block = layout == Layout::nhwc ? channels : 16;
  for (int64_t n = 0; n < shape[0]; ++n)
    for (int64_t c = 0; c < channels; ++c)
      for (int64_t i = 0; i < pixels; ++i)
        y[(n * channels + c / block * block) * pixels + i * block + c % block] = data[(n * channels + c) * pixels + i];
  return copy;
}

template <class T>
class ConcatKernel : public PieceKernel, public TakesRoom {
 public:
  struct Part {
    int value;  // index of the dynamic input, -1 for a constant
    Buffer constant;
    Dims shape;  // of the problem
    Strip strip;
  };
  ConcatKernel(std::vector<Part> parts, Layout layout, size_t axis)
      : parts_(std::move(parts)), layout_(layout), axis_(axis),
        values_(static_cast<size_t>(std::count_if(parts_.begin(), parts_.end(), [](const Part& p) { return p.value >= 0; }))) {}
  size_t packed_bytes() const override {
    size_t bytes = 0;
    for (const Part& p : parts_) bytes += p.constant.bytes();
    return bytes;
  }
  bool open(size_t, size_t) const override { return facts(layout_).block == 0; }
  int room(size_t port) const override {
    const bool ordered = layout_ == Layout::plain || layout_ == Layout::nchw;
    const bool first = port == 0 && parts_[0].value == 0, result = port == values_;
    return ordered && parts_[0].value == 0 && (first || result) ? static_cast<int>(axis_) : -1;
  }
  int run(const Context& c) noexcept override {
    const RoomContext* rooms = rooms_of(c);
    const int64_t room = rooms ? rooms->out_room[0] : 0;  // where there is some, the first part is there already
    int64_t offset = 0;
    for (const Part& p : parts_) {
      const T* x = p.value < 0 ? p.constant.template as<T>() : static_cast<const T*>(c.in[p.value]);
      Strip strip = p.strip;
      if (!facts(layout_).block) {
        const Cut part = cut_in_run(layout_, p.value < 0 ? p.shape.data() : c.in_sizes[p.value], p.shape.size(), axis_);
        const Cut whole = cut_in_run(layout_, c.out_sizes[0], p.shape.size(), axis_);
        const int64_t apart = room ? whole.run / c.out_sizes[0][axis_] * room : whole.run;
        strip = {part.outer, part.run, part.run, apart, 0, offset};
        offset += part.run;
        if (room && p.value == 0) continue;
      }
      copy_strip(strip, x, static_cast<T*>(c.out[0]), c.team);
    }
    return 0;
  }

 private:
  std::vector<Part> parts_;
  Layout layout_;
  size_t axis_;
  size_t values_;  // parts that are no constants
};

template <class T>
Buffer laid_as(const float* data, Layout layout, const Dims& shape) {
  return stored_floats<T>(laid(data, layout, shape).as<float>(), count(shape));
}

template <class T>
class Concat : public VectorRoutine {
 public:
  explicit Concat(Layout layout) : VectorRoutine("concat", "copy", layout, "", false, kStored<T>) {}

  Verdict accepts(const Problem& p) const override {
    if (auto verdict = this->basics(p, p.out[0]); !verdict) return verdict;
    for (const Tensor& t : p.in)
      if (t.present && t.shape.size() == 4 && !fits(this->images(), t.shape))
        return Verdict::no("channels " + std::to_string(t.shape[1]) + " of a constant are not a multiple of 16");
    return Verdict::ok();
  }

  Ports ports(const Problem& p) const override {
    Ports ports = VectorRoutine::ports(p);
    const auto strips = concat_strips(this->layout_, p);
    const auto dynamic = p.dynamic();
    for (size_t i = 0; i < dynamic.size(); ++i) {
      const Strip& s = strips[static_cast<size_t>(dynamic[i])];
      if (s.rows == 1)
        ports.share.push_back({static_cast<int>(i), 0, s.target_offset * kSizeOf<T>});
    }
    return ports;
  }

  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants& constants) const override {
    const auto strips = concat_strips(this->layout_, p);
    std::vector<typename ConcatKernel<T>::Part> parts;
    int value = 0;
    for (size_t i = 0; i < p.in.size(); ++i) {
      if (!p.in[i].present) continue;
      const bool constant = p.in[i].constant;
      parts.push_back({constant ? -1 : value++,
                       constant ? laid_as<T>(constants[i].as<float>(), this->layout_, p.in[i].shape) : Buffer(),
                       p.in[i].shape, strips[i]});
    }
    return std::make_unique<ConcatKernel<T>>(std::move(parts), this->layout_, axis_of(p, p.out[0]));
  }
};

template <class T>
class SplitKernel : public PieceKernel {
 public:
  SplitKernel(std::vector<Strip> strips, Layout layout, size_t rank, size_t axis)
      : strips_(std::move(strips)), layout_(layout), rank_(rank), axis_(axis) {}
  bool open(size_t, size_t) const override { return facts(layout_).block == 0; }
  int run(const Context& c) noexcept override {
    int64_t offset = 0;
    for (size_t i = 0; i < strips_.size(); ++i) {
      Strip strip = strips_[i];
      if (!facts(layout_).block) {
        const Cut part = cut_in_run(layout_, c.out_sizes[i], rank_, axis_);
        const Cut whole = cut_in_run(layout_, c.in_sizes[0], rank_, axis_);
        strip = {part.outer, part.run, whole.run, part.run, offset, 0};
        offset += part.run;
      }
      copy_strip(strip, static_cast<const T*>(c.in[0]), static_cast<T*>(c.out[i]), c.team);
    }
    return 0;
  }

 private:
  std::vector<Strip> strips_;  // at the sizes of the problem
  Layout layout_;
  size_t rank_, axis_;
};

template <class T>
class Split : public VectorRoutine {
 public:
  explicit Split(Layout layout) : VectorRoutine("split", "copy", layout, "", false, kStored<T>) {}
  Verdict accepts(const Problem& p) const override {
    if (p.dynamic().size() != 1) return Verdict::no("its input is a constant");
    return this->basics(p, p.in[0]);
  }
  Ports ports(const Problem& p) const override {
    Ports ports = VectorRoutine::ports(p);
    const auto strips = split_strips(this->layout_, p);
    for (size_t i = 0; i < strips.size(); ++i)
      if (strips[i].rows == 1) ports.share.push_back({0, static_cast<int>(i), -strips[i].source_offset * kSizeOf<T>});
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    return std::make_unique<SplitKernel<T>>(split_strips(this->layout_, p), this->layout_, p.in[0].shape.size(),
                                            axis_of(p, p.in[0]));
  }
};

template <class T>
class SliceKernel : public PieceKernel {
 public:
  explicit SliceKernel(const Box& box) : starts_(box.starts()), strip_(box.strip) {}
  size_t packed_bytes() const override { return starts_.size() * sizeof(int64_t); }
  void run(const void* const* in, void* const* out, void*, Team& team) noexcept override {
    const T* x = static_cast<const T*>(in[0]);
    T* y = static_cast<T*>(out[0]);
    const int64_t boxes = static_cast<int64_t>(starts_.size());
    if (boxes == 1) {
      Strip strip = strip_;
      strip.source_offset = starts_[0];
      return copy_strip(strip, x, y, team);
    }
    const int64_t elements = strip_.rows * strip_.length;
    in_pieces(team, boxes, 1, boxes * elements, [&](int64_t first, int64_t last) {
      for (int64_t b = first; b < last; ++b)
        for (int64_t r = 0; r < strip_.rows; ++r)
          std::memcpy(y + b * elements + r * strip_.length, x + starts_[static_cast<size_t>(b)] + r * strip_.source_row,
                      static_cast<size_t>(strip_.length) * sizeof(T));
    });
  }

 private:
  std::vector<int64_t> starts_;
  Strip strip_;
};

template <class T>
class Slice : public VectorRoutine {
 public:
  explicit Slice(Layout layout) : VectorRoutine("slice", "copy", layout, "", false, kStored<T>) {}

  Verdict accepts(const Problem& p) const override {
    if (p.in.size() != 1 || p.dynamic().size() != 1) return Verdict::no("it takes one value and bounds as attributes");
    if (auto verdict = this->basics(p, p.in[0]); !verdict) return verdict;
    return accepts_slice(this->layout_, p);
  }

  Ports ports(const Problem& p) const override {
    Ports ports = VectorRoutine::ports(p);
    const Box box = slice_box(this->layout_, p);
    if (box.count() == 1 && box.strip.rows == 1) ports.share.push_back({0, 0, -box.offset * kSizeOf<T>});
    return ports;
  }
  std::unique_ptr<Kernel> prepare(const Problem& p, const std::string&, const Constants&) const override {
    return std::make_unique<SliceKernel<T>>(slice_box(this->layout_, p));
  }
};

}  // namespace

namespace PW_COLLECT {
void collect(Collector& c) {
  for (Layout layout : kAllLayouts) {
    c.add<Concat<float>>(layout);
    c.add<Split<float>>(layout);
    c.add<Slice<float>>(layout);
  }
  for (Layout layout : kNarrowLayouts)
    for_each_half([&](auto half) {
      c.add<Concat<decltype(half)>>(layout);
      c.add<Split<decltype(half)>>(layout);
      c.add<Slice<decltype(half)>>(layout);
    });
}
}  // namespace PW_COLLECT

}  // namespace pw
