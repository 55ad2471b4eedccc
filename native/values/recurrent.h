// What a recurrent problem says: sizes, directions, gates and where its values lie; and the routine of any float type.
#pragma once
#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "spi/routine.h"

namespace pw {

enum class Cell { rnn, gru, lstm };

// The function of a gate, by the word of the attribute `activations`.
struct GateFunction {
  std::string name;
  double alpha, beta;
};

// Attributes and fixed sizes of a problem of kind rnn, gru or lstm, or of one with weights of 8 bits, which lie transposed.
struct Recurrence {
  Cell cell;
  int64_t gates, directions, features, hidden;
  bool reverse, batch_first;  // reverse: the only direction is that
  bool linear = false, coupled = false;
  double clip;                // 0: nothing is clipped
  std::vector<GateFunction> functions;  // of each direction, one behind the other

  explicit Recurrence(const Problem& p) {
    cell = p.kind == "rnn" ? Cell::rnn : p.kind == "gru" ? Cell::gru : Cell::lstm;
    gates = cell == Cell::rnn ? 1 : cell == Cell::gru ? 3 : 4;
    const bool transposed = p.kind == "dynamic_quantize_lstm";
    directions = p.in[1].shape[0];
    features = p.in[1].shape[transposed ? 1 : 2];
    hidden = p.in[2].shape[transposed ? 1 : 2];
    reverse = p.word("direction") == "reverse";
    batch_first = p.integer("layout") == 1;
    clip = p.number("clip");
    if (cell == Cell::gru) linear = p.integer("linear_before_reset") != 0;
    if (cell == Cell::lstm) coupled = p.integer("input_forget") != 0;
    const std::vector<double> alpha = p.numbers("alpha"), beta = p.numbers("beta");
    std::vector<std::string> names;
    for (std::string_view rest = p.word("activations");;) {
      const size_t comma = rest.find(',');
      names.emplace_back(rest.substr(0, comma));
      if (comma == std::string_view::npos) break;
      rest.remove_prefix(comma + 1);
    }
    const size_t own = static_cast<size_t>(per_direction());
    for (size_t i = 0; i < own * static_cast<size_t>(directions); ++i) {
      const auto at = [&](size_t count) { return i < count ? i : i % own; };
      functions.push_back({names[at(names.size())], alpha[at(alpha.size())], beta[at(beta.size())]});
    }
  }

  int64_t per_direction() const { return cell == Cell::rnn ? 1 : cell == Cell::gru ? 2 : 3; }
  int64_t rows() const { return gates * hidden; }  // of the weights of a direction
  bool backward(int64_t direction) const { return direction == 1 || reverse; }

  // Offsets of rows, where a run has `steps` and `batch`.
  int64_t x_row(int64_t t, int64_t b, int64_t steps, int64_t batch) const {
    return (batch_first ? b * steps + t : t * batch + b) * features;
  }
  int64_t y_row(int64_t t, int64_t d, int64_t b, int64_t steps, int64_t batch) const {
    return (batch_first ? (b * steps + t) * directions + d : (t * directions + d) * batch + b) * hidden;
  }
  int64_t state_row(int64_t d, int64_t b, int64_t batch) const {
    return (batch_first ? b * directions + d : d * batch + b) * hidden;
  }
};

// Sizes of one run, and the lengths of its sequences.
struct RecurrentRun {
  int64_t steps, batch;
  const void* lengths;  // may be null
  bool wide;            // lengths are i64, else i32

  RecurrentRun(const Recurrence& r, const int64_t* x_sizes, const void* of, DType dtype)
      : steps(x_sizes[r.batch_first ? 1 : 0]), batch(x_sizes[r.batch_first ? 0 : 1]), lengths(of), wide(dtype == DType::i64) {}

  int64_t stated(int64_t b) const {
    return wide ? static_cast<const int64_t*>(lengths)[b] : static_cast<const int32_t*>(lengths)[b];
  }
  // Held to what there is: memory is read by it.
  int64_t length(int64_t b) const { return lengths ? std::clamp<int64_t>(stated(b), 0, steps) : steps; }
  bool fits() const {
    for (int64_t b = 0; lengths && b < batch; ++b)
      if (stated(b) < 0 || stated(b) > steps) return false;
    return true;
  }
  // When step s of a sequence takes place; behind its end times go on as they are.
  int64_t time(int64_t s, int64_t length, bool backward) const { return backward && s < length ? length - 1 - s : s; }
};

// What every routine of these kinds asks: ranks are those of the layer, x is a value of this type.
inline Verdict accepts_recurrent(const Problem& p, DType dtype) {
  if (p.in.size() < 3 || !p.has(0) || !p.has(1) || !p.has(2)) return Verdict::no("it takes x, w and r");
  if (p.in[0].dtype != dtype) return Verdict::no("x is not " + std::string(text(dtype)));
  if (p.in[0].constant) return Verdict::no("x is a constant");
  if (p.in[0].shape.size() != 3 || p.in[1].shape.size() != 3 || p.in[2].shape.size() != 3)
    return Verdict::no("x, w and r are not of rank 3");
  return Verdict::ok();
}

}  // namespace pw
