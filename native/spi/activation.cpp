#include "spi/activation.h"

#include <limits>
#include <string_view>

namespace pw {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Row {
  std::string_view kind;
  Act act;
  std::string_view first, second;  // attributes that become a and b, "" = none
  float a, b;                      // values where the parameters are left out
};

// Defaults are those of the layer kinds.
constexpr Row kRows[] = {
    {"", Act::clip, "", "", -kInfinity, kInfinity},
    {"relu", Act::clip, "", "", 0.0f, kInfinity},
    {"clip", Act::clip, "min", "max", -kInfinity, kInfinity},
    {"leaky_relu", Act::leaky_relu, "alpha", "", 0.01f, 0.0f},
    {"sigmoid", Act::sigmoid, "", "", 0.0f, 0.0f},
    {"hard_sigmoid", Act::hard_sigmoid, "alpha", "beta", 0.2f, 0.5f},
    {"hard_swish", Act::hard_swish, "", "", 0.0f, 0.0f},
    {"silu", Act::silu, "", "", 0.0f, 0.0f},
    {"gelu", Act::gelu_erf, "approximate", "", 0.0f, 0.0f},
    {"tanh", Act::tanh, "", "", 0.0f, 0.0f},
    {"elu", Act::elu, "alpha", "", 1.0f, 0.0f},
    {"selu", Act::selu, "alpha", "gamma", 1.67326324f, 1.05070102f},
    {"celu", Act::celu, "alpha", "", 1.0f, 0.0f},
    {"softplus", Act::softplus, "", "", 0.0f, 0.0f},
    {"softsign", Act::softsign, "", "", 0.0f, 0.0f},
    {"mish", Act::mish, "", "", 0.0f, 0.0f},
    {"thresholded_relu", Act::thresholded_relu, "alpha", "", 1.0f, 0.0f},
    {"exp", Act::exp, "", "", 0.0f, 0.0f},
    {"log", Act::log, "", "", 0.0f, 0.0f},
    {"sqrt", Act::sqrt, "", "", 0.0f, 0.0f},
    {"reciprocal", Act::reciprocal, "", "", 0.0f, 0.0f},
    {"neg", Act::neg, "", "", 0.0f, 0.0f},
    {"abs", Act::abs, "", "", 0.0f, 0.0f},
    {"floor", Act::floor, "", "", 0.0f, 0.0f},
    {"ceil", Act::ceil, "", "", 0.0f, 0.0f},
    {"round", Act::round, "", "", 0.0f, 0.0f},
    {"sign", Act::sign, "", "", 0.0f, 0.0f},
    {"erf", Act::erf, "", "", 0.0f, 0.0f},
};

const Row* find(std::string_view kind) {
  for (const Row& row : kRows)
    if (row.kind == kind) return &row;
  return nullptr;
}

ActArgs with_params(const Row& row, const std::vector<float>& params) {
  ActArgs args{row.act, row.a, row.b};
  if (!row.first.empty() && !params.empty()) args.a = params[0];
  if (!row.second.empty() && params.size() > 1) args.b = params[1];
  if (row.act == Act::gelu_erf) return {args.a != 0.0f ? Act::gelu_tanh : Act::gelu_erf, 0.0f, 0.0f};
  return args;
}

}  // namespace

std::optional<ActArgs> activation(const std::string& kind, const std::vector<float>& params) {
  const Row* row = find(kind);
  if (!row) return std::nullopt;
  const ActArgs args = with_params(*row, params);
  if (args.act == Act::celu && !(args.a > 0.0f)) return std::nullopt;  // two branches that overlap
  return args;
}

std::optional<ActArgs> activation(const Problem& problem) {
  const Row* row = problem.kind.empty() ? nullptr : find(problem.kind);
  if (!row) return std::nullopt;
  std::vector<float> params;
  for (std::string_view name : {row->first, row->second})
    if (!name.empty()) params.push_back(static_cast<float>(problem.number(name)));
  return activation(problem.kind, params);
}

}  // namespace pw
