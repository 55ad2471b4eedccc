#include "spi/problem.h"

#include <charconv>
#include <cstdlib>

#include "base/error.h"
#include "base/threads.h"

namespace pw {
namespace {

Tensor parse_tensor(std::string_view text) {
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
    for (auto d : split(text, 'x')) t.shape.push_back(std::strtoll(std::string(d).c_str(), nullptr, 10));
  return t;
}

std::vector<Tensor> parse_tensors(std::string_view text) {
  std::vector<Tensor> tensors;
  if (text.empty()) return tensors;
  for (auto part : split(text, ',')) tensors.push_back(parse_tensor(part));
  return tensors;
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
  return p;
}

std::string_view Problem::word(std::string_view name) const {
  for (const auto& [key, value] : attrs_)
    if (key == name) return value;
  return {};
}

std::vector<double> Problem::numbers(std::string_view name) const {
  for (const auto& [key, value] : attrs_)
    if (key == name) {
      std::vector<double> out;
      if (!value.empty())
        for (auto part : split(value, ',')) out.push_back(std::strtod(std::string(part).c_str(), nullptr));
      return out;
    }
  throw Error("problem '" + text + "': no attribute " + std::string(name));
}

std::vector<int64_t> Problem::integers(std::string_view name) const {
  std::vector<int64_t> out;
  for (double v : numbers(name)) out.push_back(static_cast<int64_t>(v));
  return out;
}

double Problem::number(std::string_view name) const {
  const auto all = numbers(name);
  if (all.empty()) throw Error("problem '" + text + "': attribute " + std::string(name) + " is empty");
  return all[0];
}

int64_t Problem::integer(std::string_view name) const { return static_cast<int64_t>(number(name)); }

std::vector<int> Problem::dynamic() const {
  std::vector<int> out;
  for (size_t i = 0; i < in.size(); ++i)
    if (in[i].present && !in[i].constant) out.push_back(static_cast<int>(i));
  return out;
}

}  // namespace pw
