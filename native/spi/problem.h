// Problem: one layer with concrete shapes, epilogue and thread count, as the routines see it.
#pragma once
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "types/format.h"

namespace pw {

struct Tensor {
  bool present = false;   // false for an absent optional input
  bool constant = false;  // contents are known when the kernel is prepared
  DType dtype = DType::f32;
  Dims shape;
  int64_t count() const { return pw::count(shape); }
};

// y = act(y + residual). The residual is the last input of the problem.
struct Epilogue {
  bool add = false;
  std::string act;  // layer kind of the activation, "" = none
  std::vector<float> params;
  explicit operator bool() const { return add || !act.empty(); }
  static Epilogue parse(std::string_view text);  // [add+][ACTIVATION[:PARAM...]]
};

struct Problem {
  std::string text;  // canonical, see src/pathweave/net/problem.py
  std::string kind;
  std::vector<Tensor> in, out;
  Epilogue epilogue;
  int threads = 1;
  // Percentage of zeros in the weights, and of blocks of 16 consecutive outputs (at one input and tap) that are zero;
  // 0 = less than half.
  int zeros = 0, zero_blocks = 0;

  // Throws Error where the text is malformed, and where a size passes a limit of base/size.h.
  static Problem parse(const std::string& text);
  // The same; the last one of this thread is kept, as a problem goes through several verbs in a row.
  static std::shared_ptr<const Problem> shared(const std::string& text);

  // Attributes. `word` gives "" and the others throw Error when absent. Whole numbers lie between -kMostNumber
  // and kMostNumber of base/size.h; those beyond are taken for these.
  std::string_view word(std::string_view name) const;
  std::vector<int64_t> integers(std::string_view name) const;
  int64_t integer(std::string_view name) const;
  std::vector<double> numbers(std::string_view name) const;
  double number(std::string_view name) const;

  // Dynamic inputs (present, not constant), in order, as indices into `in`.
  std::vector<int> dynamic() const;
  bool has(size_t i) const { return i < in.size() && in[i].present; }
  // Index of the residual in `in`, -1 without one.
  int residual() const { return epilogue.add ? static_cast<int>(in.size()) - 1 : -1; }
  // Number of inputs of the layer proper, the residual not counted.
  size_t arity() const { return in.size() - (epilogue.add ? 1 : 0); }

  // Bytes of all values and constants together.
  int64_t bytes() const;

 private:
  std::string_view attribute(std::string_view name) const;  // throws Error
  std::vector<std::pair<std::string, std::string>> attrs_;
};

}  // namespace pw
