// What the routines of attention share: sizes and places of one run, and which keys a query sees.
#pragma once
#include <algorithm>
#include <cmath>

#include "products/matrix.h"
#include "values/operands.h"

namespace pw {

// Attributes of the layer; see src/pathweave/layers/attention.py.
struct AttentionOptions {
  double scale;
  float softcap;
  bool causal, bottom, padded;
  int64_t left, right;
  bool inside[4];
  std::string guard;

  explicit AttentionOptions(const Problem& p)
      : scale(p.number("scale")), softcap(static_cast<float>(p.number("softcap"))), causal(p.integer("causal") != 0),
        bottom(p.integer("bottom") != 0), padded(p.integer("padded") != 0), left(p.integer("left")), right(p.integer("right")), guard(p.word("guard")) {
    const std::vector<int64_t> given = p.integers("inside");
    for (size_t i = 0; i < 4; ++i) inside[i] = given[i] != 0;
  }
  // What the sums of a row are multiplied by, whose exponentials have this sum; `zeros`: the row is 0 instead, as it is where
  // there are no keys.
  struct Last {
    float factor;
    bool zeros;
  };
  Last last(float total, int64_t keys) const {
    if (guard == "none") return {1.0f / total, keys == 0};
    return {1.0f / total, total == 0 || (guard == "nan" && std::isnan(total))};
  }
};

// Rows of one operand [batch, heads, sequence, size], or with the heads inside of the sequence.
template <class T>
struct HeadRows {
  T* data = nullptr;
  int64_t batch = 0, head = 0, row = 0;  // elements from one to the next

  HeadRows() = default;
  // `length`: of the sequence, with the room behind it.
  HeadRows(T* data, int64_t heads, int64_t length, int64_t size, bool inside)
      : data(data), batch(heads * length * size), head(inside ? size : length * size), row(inside ? heads * size : size) {}
  T* at(int64_t b, int64_t h, int64_t s) const { return data + b * batch + h * head + s * row; }
};

// The sizes of a problem, or of one run.
struct AttentionSizes {
  int64_t batch, heads, queries, depth, groups, keys, width;

  AttentionSizes(const AttentionOptions& o, const int64_t* q, const int64_t* k, const int64_t* v)
      : batch(q[0]), heads(q[o.inside[0] ? 2 : 1]), queries(q[o.inside[0] ? 1 : 2]), depth(q[3]),
        groups(k[o.inside[1] ? 2 : 1]), keys(k[o.inside[1] ? 1 : 2]), width(v[3]) {}
  int64_t shared() const { return heads / groups; }      // query heads per key head
  int64_t rows() const { return shared() * queries; }    // that have one key head in common
};

// Integers of i32 or i64, one or one per batch.
struct BatchIndex {
  const void* data = nullptr;
  bool wide = true;
  int64_t step = 0;
  int64_t at(int64_t b) const {
    constexpr int64_t kMost = int64_t{1} << 40;
    const int64_t value = wide ? static_cast<const int64_t*>(data)[b * step] : static_cast<const int32_t*>(data)[b * step];
    return std::clamp(value, -kMost, kMost);
  }
};

// One run: where everything lies.
struct AttentionRun : AttentionSizes {
  const AttentionOptions& options;
  HeadRows<const float> q, k, v;
  HeadRows<float> y;
  float scale;
  // The mask: `unit` bytes per element, steps of [batch, head, query], and keys in a row; no row where there is none.
  const char* mask = nullptr;
  bool adds = false, one = false;  // one: a single element for all keys
  int64_t mask_batch = 0, mask_head = 0, mask_query = 0, mask_keys = 0;
  BatchIndex lengths, offset;
  const float* sink = nullptr;

  AttentionRun(const AttentionSizes& s, const AttentionOptions& o) : AttentionSizes(s), options(o), scale(0) {}

  // The keys that a query sees lie in [first, last), but for those that a mask takes out.
  struct Span {
    int64_t first, last;
  };
  Span span(int64_t b, int64_t s) const {
    const int64_t length = lengths.data ? std::clamp<int64_t>(lengths.at(b), 0, keys) : keys;
    const int64_t end = lengths.data ? lengths.at(b) : keys;
    const int64_t place = s + (offset.data ? offset.at(b) : options.bottom ? end - queries : 0);
    int64_t first = 0, last = mask ? std::min(length, mask_keys) : length;
    if (options.causal) last = std::min(last, place + 1);
    if (options.right >= 0) last = std::min(last, place + options.right + 1);
    if (options.left >= 0) first = std::max(first, place - options.left);
    last = std::max<int64_t>(last, 0);
    return {std::min(first, last), last};
  }
  const char* mask_row(int64_t b, int64_t h, int64_t s) const {
    return mask ? mask + b * mask_batch + h * mask_head + s * mask_query : nullptr;
  }
};

}  // namespace pw
