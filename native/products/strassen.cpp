#include "products/strassen.h"

#include <cstring>

#include "base/error.h"
#include "products/estimates.h"
#include "spi/ukernel.h"

namespace pw {
namespace {

constexpr int64_t kLeast = 32;         // of any dimension of a half
constexpr int64_t kMostDepth = 65536;  // see docs/accuracy.md
constexpr int64_t kArea = 256;         // bytes of row pointers per thread: up to 32 rows
constexpr int64_t kChunk = 512;        // rows of packed B per pass at most

int most_levels(int64_t rows, int64_t depth, int64_t columns) {
  const int64_t least = std::min({rows, depth, columns});
  return least >= 4 * kLeast ? 2 : least >= 2 * kLeast ? 1 : 0;
}

// The products' operands: which quadrants of B with which sign (P4 has it turned around), as in the header.
struct Quadrant {
  int row, column;
  float sign;
};
struct Terms {
  int count;
  Quadrant all[4];
  const Quadrant* begin() const { return all; }
  const Quadrant* end() const { return all + count; }
};
constexpr Terms kTerms[7] = {
    {1, {{0, 0, 1}}},
    {1, {{1, 0, 1}}},
    {1, {{1, 1, 1}}},
    {4, {{1, 0, 1}, {1, 1, -1}, {0, 1, 1}, {0, 0, -1}}},
    {2, {{0, 1, 1}, {0, 0, -1}}},
    {3, {{1, 1, 1}, {0, 1, -1}, {0, 0, 1}}},
    {2, {{1, 1, 1}, {0, 1, -1}}},
};

}  // namespace

std::vector<std::string> strassen_variants(int64_t rows, int64_t depth, int64_t columns, Act act) {
  std::vector<std::string> names;
  for (int level = 1; level <= most_levels(rows, depth, columns); ++level)
    for (const auto& kernel : gemm_variants(Layout::plain, act)) names.push_back("level" + std::to_string(level) + "/" + kernel);
  return names;
}

Verdict accepts_strassen(const Problem& p, int64_t rows, int64_t depth, int64_t columns) {
  if (most_levels(rows, depth, columns) == 0)
    return Verdict::no("a dimension is below " + std::to_string(2 * kLeast) + ", too small to be halved");
  if (depth > kMostDepth)
    return Verdict::no("sums of more than " + std::to_string(kMostDepth) + " terms might leave accuracy class f32");
  if (p.epilogue.add) return Verdict::no("a residual is added in a step of its own");
  for (const char* kind : {PW_KIND_GEMM_F32, PW_KIND_ACTIVATION_F32})
    if (Verdict v = applies(kind, p.epilogue); !v) return v;
  if (gemm_variants(Layout::plain, epilogue_act(p)).empty()) return Verdict::no("no micro-kernel in this tier");
  return Verdict::ok();
}

namespace {

// Of the peak, that the sums of quadrants and of products reach; how much longer products take than those that stand alone. They
// were found with bench/estimates.py: docs/notes/estimates.md.
constexpr double kSums = 0.0085, kProducts = 0.0145, kLeaf = 1.05;

// A product whose second operand is the sum of `terms` parts; 0: it was added up before.
void add_strassen(Estimate& e, double rows, double depth, double columns, int level, int terms, const GemmF32& kernel) {
  if (level == 0) {
    const double before = std::max(0.0, e.work);
    add_product(e, {.rows = rows, .depth = depth, .columns = columns}, kernel);
    e.work = before + (e.work - before) * kLeaf;
    if (terms > 0) e.add(terms * depth * columns, kSums);  // packed in the run
    return;
  }
  const double m = rows / 2, k = depth / 2, n = columns / 2;
  e.add(m * 4 * k, kSums);       // S1 to S4
  e.add(7 * m * n, kProducts);   // sums of the products, which are read and written again
  for (const Terms& part : kTerms) add_strassen(e, m, k, n, level - 1, terms * part.count, kernel);
}

}  // namespace

Estimate strassen_estimate(const Problem& p, int64_t rows, int64_t depth, int64_t columns, const std::string& variant) {
  Estimate e;
  const int level = variant[5] - '0';
  const double m = static_cast<double>(rows), k = static_cast<double>(depth), n = static_cast<double>(columns);
  add_strassen(e, m, k, n, level, p.in[1].constant ? 0 : 1, gemm_kernel(variant.substr(variant.find('/') + 1)));
  for (auto& moved : e.moved) moved = {};
  e.move((m * k + 4 * m * n) * 4 * level, (m * k + 2 * m * n) * 4);
  if (p.in[1].constant) e.constants = k * n * 4 * (level == 1 ? 1.75 : 3.0625);
  e.pieces = -1;
  e.phases = level == 1 ? 12 : 84;
  return e;
}

StrassenProduct::StrassenProduct(const StrassenProblem& p, const std::string& variant)
    : p_(p), kernel_(&gemm_kernel(variant.substr(variant.find('/') + 1))) {
  activation_ = &best_ukernel<ActivationF32>(PW_KIND_ACTIVATION_F32, p.act.act);
  bias_ = pack_bias(p.bias, p.columns, kernel_->columns, kernel_->columns);
  no_bias_ = pack_bias(nullptr, p.columns, kernel_->columns, kernel_->columns);
  zeros_ = zero_row(p.depth);
  root_.rows = p.rows, root_.depth = p.depth, root_.columns = p.columns;
  root_.terms = {{0, 0, p.depth, p.columns, 1.0f}};
  build(root_, variant[5] - '0');
  if (p.b.data) {
    const std::string key = "strassen/" + variant + "/" + std::to_string(p.depth) + "/" + std::to_string(p.columns);
    packed_ = shared_packing(p.b.id, key, [&] {
      Buffer packed(static_cast<size_t>(packed_floats_) * 4);
      parallel(static_cast<int>(p.threads), [&](Team& team) { pack(p.b.as<float>(), packed.as<float>(), team); });
      return packed;
    });
  }
}

void StrassenProduct::build(Node& node, int level) {
  if (level == 0) {
    node.packed = packed_floats_;
    Product& g = node.product;
    g.kernel = kernel_;
    g.rows = node.rows, g.columns = node.columns;
    g.taps = 1;
    g.depth = node.depth;
    g.chunk = even_part(node.depth, kChunk);
    g.c_row = p_.columns;
    g.c_group = 16;
    block(g, p_.threads);
    packed_floats_ += g.panels() * node.depth * kernel_->columns;
    leaves_.push_back(&node);
    return;
  }
  const auto half = [](int64_t n, int64_t unit) { return std::min(n, round_up(divide_up(n, 2), unit)); };
  node.rows1 = half(node.rows, 1), node.depth1 = half(node.depth, 1), node.columns1 = half(node.columns, 16);
  const int64_t m1 = node.rows1, k1 = node.depth1, n1 = node.columns1;
  const int64_t m2 = node.rows - m1, k2 = node.depth - k1, n2 = node.columns - n1;
  const int64_t rows[7] = {m1, m1, m1, m2, m2, m1, m2}, depth[7] = {k1, k2, k2, k2, k1, k1, k1},
                columns[7] = {n1, n1, n2, n1, n2, n1, n1};
  node.parts.resize(7);
  for (size_t i = 0; i < 7; ++i) {
    Node& part = node.parts[i];
    part.rows = rows[i], part.depth = depth[i], part.columns = columns[i];
    for (const Term& t : node.terms)
      for (const Quadrant& q : kTerms[i]) {
        // What T4 holds behind the depth of A22, say, belongs to no half of it.
        const int64_t row = t.row + (q.row ? k1 : 0), column = t.column + (q.column ? n1 : 0);
        const Term term{row, column, std::min(t.row_end, t.row + (q.row ? node.depth : k1)),
                        std::min(t.column_end, t.column + (q.column ? node.columns : n1)), t.sign * q.sign};
        part.terms.push_back(term);
      }
    build(part, level - 1);
  }
}

// Per level: S1..S4, U, P5 and U + P7, the last three as wide as C so that they can be what a product is added to.
int64_t StrassenProduct::scratch_floats(const Node& node) const {
  if (node.parts.empty()) return 0;
  const int64_t own = 4 * node.rows1 * node.depth1 + 3 * node.rows1 * p_.columns;
  return round_up(own, 16) + scratch_floats(node.parts[0]);
}

size_t StrassenProduct::workspace_bytes() const {
  const int64_t packed = packed_ ? 0 : packed_floats_;
  return static_cast<size_t>(p_.threads * kArea + (packed + scratch_floats(root_)) * 4);
}

void StrassenProduct::pack_leaf(const Node& leaf, const float* b, int64_t panel, int64_t first, int64_t last,
                                float* to) const {
  const int64_t tile = kernel_->columns;
  std::memset(to, 0, static_cast<size_t>((last - first) * tile) * 4);
  for (const Term& t : leaf.terms) {
    const int64_t column = t.column + panel * tile;
    const int64_t width = std::min({tile, t.column_end - column, leaf.columns - panel * tile});
    const int64_t end = std::min(last, t.row_end - t.row);
    for (int64_t k = first; k < end; ++k) {
      const float* from = b + (t.row + k) * p_.b_depth + column * p_.b_column;
      float* row = to + (k - first) * tile;
      if (p_.b_column == 1)
        for (int64_t n = 0; n < width; ++n) row[n] += t.sign * from[n];
      else
        for (int64_t n = 0; n < width; ++n) row[n] += t.sign * from[n * p_.b_column];
    }
  }
}

// A few rows of a panel of every product at a time: what they read of B is read from memory once.
void StrassenProduct::pack(const float* b, float* to, Team& team) const {
  constexpr int64_t kRows = 32;
  const Node& first = *leaves_.front();
  const int64_t chunks = divide_up(first.depth, kRows), panels = first.product.panels();
  team.each(panels * chunks, 1, [&](int64_t index, int64_t) {
    const int64_t panel = index / chunks, k = index % chunks * kRows;
    for (const Node* node : leaves_) {
      const int64_t last = std::min(node->depth, k + kRows);
      if (panel < node->product.panels() && k < last)
        pack_leaf(*node, b, panel, k, last, to + node->packed + (panel * node->depth + k) * kernel_->columns);
    }
  });
}

void StrassenProduct::run(const float* a, const float* b, float* c, void* workspace, Team& team) const {
  auto* areas = static_cast<char*>(workspace);
  auto* floats = reinterpret_cast<float*>(areas + p_.threads * kArea);
  Scratch scratch{floats, packed_ ? packed_->as<float>() : floats,
                  reinterpret_cast<const float**>(areas + team.index * kArea)};
  if (!packed_) {
    pack(b, floats, team);
    scratch.floats += packed_floats_;
    team.barrier();
  }
  multiply(root_, {a, p_.depth}, c, {false, nullptr, bias_.as<float>(), p_.act}, scratch, team);
}

void StrassenProduct::leaf(const Node& node, View a, float* c, const Store& store, const Scratch& scratch,
                           Team& team) const {
  Product g = node.product;
  g.b = scratch.panels + node.packed;
  g.bias = store.bias ? store.bias : no_bias_.as<float>();
  g.act = store.act;
  g.accumulate = store.accumulate;
  walk(g, c, store.residual, scratch.pointers, team, [&](int64_t row, int64_t rows, const float** to) {
    for (int64_t i = 0; i < kernel_->rows; ++i) to[i] = a.data + (row + std::min(i, rows - 1)) * a.row;
  });
}

void StrassenProduct::multiply(const Node& node, View a, float* c, const Store& store, Scratch scratch,
                               Team& team) const {
  if (node.parts.empty()) return leaf(node, a, c, store, scratch, team);
  const int64_t m1 = node.rows1, k1 = node.depth1, n1 = node.columns1, wide = p_.columns;
  float *s = scratch.floats, *u = s + 4 * m1 * k1, *p5 = u + m1 * wide, *u3 = p5 + m1 * wide;
  scratch.floats = s + round_up(4 * m1 * k1 + 3 * m1 * wide, 16);
  const View a11 = a, a12{a.data + k1, a.row}, a22{a.data + m1 * a.row + k1, a.row};
  const View s1{s, k1}, s2{s + m1 * k1, k1}, s3{s + 2 * m1 * k1, k1}, s4{s + 3 * m1 * k1, k1};
  float *c12 = c + n1, *c21 = c + m1 * wide, *c22 = c21 + n1;

  sums(node, a, s, team);
  if (store.residual) start(node, store, c, team);
  team.barrier();
  // What the quadrants of C hold is added to from here on where something is in them.
  const bool adds = store.accumulate || store.residual;
  const float *left = adds ? nullptr : store.bias, *right = left ? left + n1 : nullptr;
  const auto product = [&](int index, View from, float* to, const Store& how) {
    multiply(node.parts[static_cast<size_t>(index - 1)], from, to, how, scratch, team);
    team.barrier();
  };
  product(1, a11, u, {false, nullptr, nullptr, kNoActivation});
  product(2, a12, c, {adds, u, left, store.act});
  product(6, s2, u, {true, nullptr, nullptr, kNoActivation});
  product(7, s3, u3, {false, u, nullptr, kNoActivation});
  product(5, s1, p5, {false, nullptr, nullptr, kNoActivation});
  product(4, a22, c21, {adds, u3, left, store.act});
  combine(node, u, p5, u3, c22, {adds, nullptr, right, store.act}, team);
  team.barrier();
  multiply(node.parts[2], s4, c12, {adds, u, right, store.act}, scratch, team);
}

// S1..S4, each rows1 x depth1; a second half that is smaller counts as if zeros followed.
void StrassenProduct::sums(const Node& node, View a, float* s, Team& team) const {
  const int64_t m1 = node.rows1, k1 = node.depth1, m2 = node.rows - m1, k2 = node.depth - k1, size = m1 * k1;
  const auto [first, last] = team.share(m1);
  for (int64_t i = first; i < last; ++i) {
    const float *a11 = a.data + i * a.row, *a12 = a11 + k1;
    const float *a21 = i < m2 ? a11 + m1 * a.row : zeros_, *a22 = i < m2 ? a21 + k1 : zeros_;
    float *s1 = s + i * k1, *s2 = s1 + size, *s3 = s2 + size, *s4 = s3 + size;
    for (int64_t k = 0; k < k2; ++k) {
      const float sum = a21[k] + a22[k], rest = sum - a11[k];
      s1[k] = sum;
      s2[k] = rest;
      s3[k] = a11[k] - a21[k];
      s4[k] = a12[k] - rest;
    }
    for (int64_t k = k2; k < k1; ++k) {
      s1[k] = a21[k];
      s2[k] = a21[k] - a11[k];
      s3[k] = a11[k] - a21[k];
      s4[k] = 0.0f;  // not read
    }
  }
}

// U += P5, and C22, which is complete with it.
void StrassenProduct::combine(const Node& node, float* u, const float* p5, const float* u3, float* c22,
                              const Store& store, Team& team) const {
  const int64_t m2 = node.rows - node.rows1, n2 = node.columns - node.columns1, wide = p_.columns;
  const float* bias = store.bias ? store.bias : no_bias_.as<float>();
  const auto [first, last] = team.share(m2);
  for (int64_t i = first; i < last; ++i) {
    float *sum = u + i * wide, *to = c22 + i * wide;
    const float *five = p5 + i * wide, *three = u3 + i * wide;
    if (store.accumulate)
      for (int64_t n = 0; n < n2; ++n) to[n] += three[n] + five[n];
    else
      for (int64_t n = 0; n < n2; ++n) to[n] = three[n] + five[n] + bias[n];
    for (int64_t n = 0; n < n2; ++n) sum[n] += five[n];
    activation_->run(&store.act, to, to, n2);
  }
}

// C before products are added to it: the residual with the bias, on top of what C holds where that counts.
void StrassenProduct::start(const Node& node, const Store& store, float* c, Team& team) const {
  const float* bias = store.bias ? store.bias : no_bias_.as<float>();
  const auto [first, last] = team.share(node.rows);
  for (int64_t i = first; i < last; ++i) {
    float* to = c + i * p_.columns;
    const float* from = store.residual + i * p_.columns;
    if (store.accumulate)
      for (int64_t n = 0; n < node.columns; ++n) to[n] += from[n];
    else
      for (int64_t n = 0; n < node.columns; ++n) to[n] = from[n] + bias[n];
  }
}

}  // namespace pw
