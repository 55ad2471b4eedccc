#include "spi/problem.h"

#include <algorithm>
#include <charconv>
#include <cstdlib>

#include "base/error.h"
#include "base/size.h"
#include "base/threads.h"

namespace pw {
namespace {

// A whole number of at most 64 bits.
std::optional<int64_t> whole(std::string_view text) {
  int64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return value;
}

// Refuses a value of more than kMostBytes. Empty dimensions do not make up for others that are too large.
void check_tensor(const Tensor& t, std::string_view text) {
  const std::string where = "problem: tensor '" + std::string(text.substr(0, 200)) + "'";
  if (t.shape.size() > kMostRank)
    throw Error(where + ": rank " + std::to_string(t.shape.size()) + ", at most " + std::to_string(kMostRank));
  int64_t bytes = static_cast<int64_t>(size_of(t.dtype));
  for (int64_t d : t.shape) {
    if (d < 0 || d > kMostSize) throw Error(where + ": a dimension is " + std::to_string(d) + ", expected 0 to 2^40");
    bytes = saturated(bytes, std::max<int64_t>(1, d));
  }
  if (bytes > kMostBytes) throw Error(where + " takes more than the 2^40 bytes that one value may have");
}

Tensor parse_tensor(std::string_view text) {
  const std::string_view all = text;
  Tensor t;
  if (text == "-") return t;
  t.present = true;
  if (text.rfind("const:", 0) == 0) {
    t.constant = true;
    text.remove_prefix(6);
  }
  const size_t colon = text.find(':');
  if (colon == std::string_view::npos) throw Error("problem: tensor '" + std::string(text) + "': expected DTYPE:DxD...");
  t.dtype = parse_dtype(text.substr(0, colon));
  text.remove_prefix(colon + 1);
  if (!text.empty())
    for (auto d : split(text, 'x')) {
      const auto size = whole(d);
      if (!size) throw Error("problem: tensor '" + std::string(all.substr(0, 200)) + "': '" + std::string(d) + "' is no size");
      t.shape.push_back(*size);
    }
  check_tensor(t, all);
  return t;
}

std::vector<Tensor> parse_tensors(std::string_view text) {
  std::vector<Tensor> tensors;
  if (text.empty()) return tensors;
  for (auto part : split(text, ',')) tensors.push_back(parse_tensor(part));
  return tensors;
}

// A number of an attribute as a whole one, between -kMostNumber and kMostNumber. No dimension is longer, so that "to the end"
// (2^63 - 1) and what counts from it keep their meaning.
int64_t bounded(std::string_view text) {
  if (const auto value = whole(text)) return std::clamp(*value, -kMostNumber, kMostNumber);
  const double value = std::strtod(std::string(text).c_str(), nullptr);
  const auto most = static_cast<double>(kMostNumber);
  return value != value ? 0 : static_cast<int64_t>(std::clamp(value, -most, most));
}

// PERCENT[/1x16:PERCENT]
void parse_zeros(std::string_view text, Problem& p) {
  for (auto part : split(text, '/')) {
    const bool blocks = part.rfind("1x16:", 0) == 0;
    if (blocks) part.remove_prefix(5);
    const int percent = std::atoi(std::string(part).c_str());
    if (percent < 1 || percent > 100) throw Error("problem: zeros '" + std::string(text) + "': expected percentages");
    (blocks ? p.zero_blocks : p.zeros) = percent;
  }
}

// Numbers of one axis of a layer with windows.
struct Windows {
  int64_t length;  // of the longer one of input and output
  int64_t out, kernel, stride, pad, dilation;
  // What windows, their steps or the padding reach over.
  int64_t span() const {
    const int64_t padded = plus(length, pad, "padded length");
    const int64_t reach = plus(times(kernel - 1, dilation, "window"), 1, "window");
    return std::max({padded, reach, stride});
  }
};

// Axes, which routines index with, lie within the largest rank; there is at least one group.
void check_indices(const Problem& p) {
  size_t rank = 1;
  for (const auto* list : {&p.in, &p.out})
    for (const Tensor& t : *list) rank = std::max(rank, t.shape.size());
  const auto most = static_cast<int64_t>(rank);
  for (const char* name : {"axis", "axes", "perm"})
    if (!p.word(name).empty())
      for (int64_t axis : p.integers(name))
        if (axis < -most || axis >= most)
          throw Error("problem '" + p.text + "': attribute " + name + " names axis " + std::to_string(axis) +
                      " of at most " + std::to_string(rank));
  if (!p.word("groups").empty() && p.integer("groups") < 1)
    throw Error("problem '" + p.text + "': expected at least one group");
}

// `count` whole numbers of at least `least`.
std::vector<int64_t> geometry(const Problem& p, const char* name, size_t count, int64_t least) {
  const auto found = p.integers(name);
  if (found.size() != count || std::any_of(found.begin(), found.end(), [&](int64_t v) { return v < least; }))
    throw Error("problem '" + p.text + "': attribute " + name + ": expected " + std::to_string(count) +
                " numbers of at least " + std::to_string(least));
  return found;
}

// Length of the kernel along an axis of space: the attribute, or that of the largest weights.
int64_t kernel_length(const Problem& p, size_t axis) {
  const size_t rank = p.in[0].shape.size();
  if (!p.word("kernel").empty()) return geometry(p, "kernel", rank - 2, 1)[axis];
  int64_t most = 1;
  for (size_t i = 1; i < p.arity(); ++i)
    if (p.in[i].present && p.in[i].shape.size() == rank) most = std::max(most, p.in[i].shape[2 + axis]);
  return most;
}

// Holds a layer with windows to the limits of base/size.h, so that no distance within its padded image wraps. (Each
// number by itself is at most kMostNumber: `integers` sees to that.)
void check_windows(const Problem& p) {
  if (p.word("stride").empty() || p.word("pad").empty() || p.word("dilation").empty()) return;
  if (p.in.empty() || p.in[0].shape.size() < 3 || p.out[0].shape.size() != p.in[0].shape.size()) return;
  const Dims &x = p.in[0].shape, &y = p.out[0].shape;
  const size_t space = x.size() - 2;  // axes behind batch and channels
  const auto stride = geometry(p, "stride", space, 1), pad = geometry(p, "pad", 2 * space, 0);
  const auto dilation = geometry(p, "dilation", space, 1);
  int64_t span = saturated(std::max<int64_t>(1, x[0]), std::max<int64_t>({1, x[1], y[1]})), visits = span;
  for (size_t i = 0; i < space; ++i) {
    const Windows w{std::max(x[2 + i], y[2 + i]), y[2 + i], kernel_length(p, i), stride[i], pad[i] + pad[i + space], dilation[i]};
    span = saturated(span, std::max<int64_t>(1, w.span()));
    visits = saturated(saturated(visits, std::max<int64_t>(1, w.out)), w.kernel);
  }
  if (span > kMostSpan)
    throw Error("problem '" + p.text + "': its padding, windows and steps reach over more than 2^45 elements");
  if (visits > kMostVisits) throw Error("problem '" + p.text + "': its windows look at more than 2^56 elements");
}

// What an epilogue adds is as the output: routines read it at the output's positions.
void check_residual(const Problem& p) {
  if (!p.epilogue.add) return;
  if (p.in.empty() || !p.in.back().present || p.in.back().dtype != p.out[0].dtype || p.in.back().shape != p.out[0].shape)
    throw Error("problem '" + p.text + "': its epilogue adds the last input, expected one of the output's type and shape");
}

}  // namespace

Epilogue Epilogue::parse(std::string_view text) {
  Epilogue e;
  if (text == "add" || text.rfind("add+", 0) == 0) {
    e.add = true;
    text.remove_prefix(text == "add" ? 3 : 4);
  }
  if (text.empty()) return e;
  const auto parts = split(text, ':');
  e.act = parts[0];
  for (size_t i = 1; i < parts.size(); ++i) e.params.push_back(std::strtof(std::string(parts[i]).c_str(), nullptr));
  return e;
}

namespace {

int parse_threads(const std::string& text, std::string_view digits) {
  int threads = 0;
  const char* end = digits.data() + digits.size();
  const auto [rest, code] = std::from_chars(digits.data(), end, threads);
  if (code != std::errc() || rest != end || threads < 1 || threads > kMostThreads)
    throw Error("problem '" + text + "': " + std::string(digits) + " threads, expected 1 to " +
                std::to_string(kMostThreads));
  return threads;
}

}  // namespace

std::shared_ptr<const Problem> Problem::shared(const std::string& text) {
  thread_local std::shared_ptr<const Problem> last;
  if (!last || last->text != text) last = std::make_shared<const Problem>(parse(text));
  return last;
}

Problem Problem::parse(const std::string& text) {
  Problem p;
  p.text = text;
  const auto words = split(p.text, ' ');
  p.kind = words[0];
  for (size_t i = 1; i < words.size(); ++i) {
    const size_t equals = words[i].find('=');
    if (equals == std::string_view::npos) throw Error("problem '" + text + "': expected NAME=VALUE");
    const auto name = words[i].substr(0, equals), value = words[i].substr(equals + 1);
    if (name == "in") p.in = parse_tensors(value);
    else if (name == "out") p.out = parse_tensors(value);
    else if (name == "epilogue") p.epilogue = Epilogue::parse(value);
    else if (name == "zeros") parse_zeros(value, p);
    else if (name == "threads") p.threads = parse_threads(text, value);
    else p.attrs_.emplace_back(name, value);
  }
  if (p.kind.empty() || p.out.empty()) throw Error("problem '" + text + "': incomplete");
  check_residual(p);
  check_indices(p);
  check_windows(p);
  return p;
}

std::string_view Problem::word(std::string_view name) const {
  for (const auto& [key, value] : attrs_)
    if (key == name) return value;
  return {};
}

std::string_view Problem::attribute(std::string_view name) const {
  for (const auto& [key, value] : attrs_)
    if (key == name) return value;
  throw Error("problem '" + text + "': no attribute " + std::string(name));
}

std::vector<double> Problem::numbers(std::string_view name) const {
  const auto value = attribute(name);
  std::vector<double> out;
  if (!value.empty())
    for (auto part : split(value, ',')) out.push_back(std::strtod(std::string(part).c_str(), nullptr));
  return out;
}

std::vector<int64_t> Problem::integers(std::string_view name) const {
  const auto value = attribute(name);
  std::vector<int64_t> out;
  if (value.empty()) return out;
  for (auto part : split(value, ',')) out.push_back(bounded(part));
  return out;
}

double Problem::number(std::string_view name) const {
  const auto all = numbers(name);
  if (all.empty()) throw Error("problem '" + text + "': attribute " + std::string(name) + " is empty");
  return all[0];
}

int64_t Problem::integer(std::string_view name) const {
  const auto all = integers(name);
  if (all.empty()) throw Error("problem '" + text + "': attribute " + std::string(name) + " is empty");
  return all[0];
}

int64_t Problem::bytes() const {
  int64_t sum = 0;
  for (const auto* list : {&in, &out})
    for (const Tensor& t : *list)
      if (t.present) sum += t.count() * static_cast<int64_t>(size_of(t.dtype));
  return sum;
}

std::vector<int> Problem::dynamic() const {
  std::vector<int> out;
  for (size_t i = 0; i < in.size(); ++i)
    if (in[i].present && !in[i].constant) out.push_back(static_cast<int>(i));
  return out;
}

}  // namespace pw
