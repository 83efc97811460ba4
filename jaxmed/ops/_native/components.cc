// Connected components of masks: runs along the last axis, joined by union-find.
//
// A mask is (rows, n): its rows are walked in order, and each run of voxels is joined with the
// runs that touch it in the rows before. The first run of a component stays its root, so that
// numbering the roots in order numbers components by their first voxel.

#include <cstdint>
#include <cstdlib>
#include <exception>
#include <string>
#include <vector>

#include "parallel.h"

namespace jaxmed {
namespace {

using Dims = std::vector<int64_t>;

struct Runs {
  std::vector<int64_t> first;       // of each row, then the number of all runs
  std::vector<int32_t> start, end;  // along the row
  std::vector<int32_t> parent;
};

int32_t root_of(std::vector<int32_t>& parent, int32_t i) {
  while (parent[i] != i) i = parent[i] = parent[parent[i]];
  return i;
}

void join(std::vector<int32_t>& parent, int32_t a, int32_t b) {
  a = root_of(parent, a);
  b = root_of(parent, b);
  if (a < b)
    parent[b] = a;
  else
    parent[a] = b;
}

// A row before this one whose voxels are neighbours of this one's.
struct Before {
  Dims offset;     // along the outer axes, the first of them that is not zero being -1
  int64_t rows;    // how many rows back
  int32_t reach;   // 1 if neighbours may differ along the last axis too
};

std::vector<Before> rows_before(const Dims& outer, int64_t connectivity) {
  std::vector<Before> found;
  int64_t count = 1;
  for (size_t i = 0; i < outer.size(); ++i) count *= 3;
  for (int64_t code = 0; code < count / 2; ++code) {  // half: those that come earlier
    Dims offset(outer.size());
    int64_t rest = code, steps = 0, rows = 0, step = 1;
    for (size_t i = outer.size(); i-- > 0;) {
      offset[i] = rest % 3 - 1;
      rest /= 3;
      steps += offset[i] != 0;
      rows -= offset[i] * step;
      step *= outer[i];
    }
    if (steps <= connectivity) found.push_back({offset, rows, steps < connectivity});
  }
  return found;
}

void find_runs(const uint8_t* mask, int64_t rows, int64_t n, Runs& runs) {
  runs.first.assign(1, 0);
  runs.start.clear();
  runs.end.clear();
  for (int64_t r = 0; r < rows; ++r, mask += n) {
    for (int64_t i = 0; i < n;) {
      while (i < n && !mask[i]) ++i;
      if (i == n) break;
      runs.start.push_back(static_cast<int32_t>(i));
      while (i < n && mask[i]) ++i;
      runs.end.push_back(static_cast<int32_t>(i));
    }
    runs.first.push_back(static_cast<int64_t>(runs.start.size()));
  }
}

// Joins every run of row `r` with those of row `s` that it touches.
void join_rows(Runs& runs, int64_t r, int64_t s, int32_t reach) {
  int64_t a = runs.first[r], b = runs.first[s];
  const int64_t a_end = runs.first[r + 1], b_end = runs.first[s + 1];
  while (a < a_end && b < b_end) {
    if (runs.start[a] < runs.end[b] + reach && runs.start[b] < runs.end[a] + reach)
      join(runs.parent, static_cast<int32_t>(a), static_cast<int32_t>(b));
    if (runs.end[a] < runs.end[b])
      ++a;
    else
      ++b;
  }
}

int32_t label(const uint8_t* mask, const Dims& shape, int64_t connectivity, int32_t* labels) {
  const int64_t n = shape.back();
  const Dims outer(shape.begin(), shape.end() - 1);
  int64_t rows = 1;
  for (int64_t size : outer) rows *= size;
  Runs runs;
  find_runs(mask, rows, n, runs);
  const auto total = static_cast<int32_t>(runs.start.size());
  runs.parent.resize(total);
  for (int32_t i = 0; i < total; ++i) runs.parent[i] = i;
  const auto before = rows_before(outer, connectivity);
  Dims at(outer.size(), 0);
  for (int64_t r = 0; r < rows; ++r) {
    if (runs.first[r] < runs.first[r + 1]) {
      for (const Before& b : before) {
        bool inside = true;
        for (size_t i = 0; i < outer.size(); ++i) {
          const int64_t to = at[i] + b.offset[i];
          inside = inside && to >= 0 && to < outer[i];
        }
        if (inside) join_rows(runs, r, r - b.rows, b.reach);
      }
    }
    for (size_t i = outer.size(); i-- > 0 && ++at[i] == outer[i];) at[i] = 0;
  }
  // Roots come first in their component: a number given to a root is there for all others.
  int32_t count = 0;
  std::vector<int32_t> number(total);
  for (int32_t i = 0; i < total; ++i) {
    const int32_t root = root_of(runs.parent, i);
    number[i] = root == i ? ++count : number[root];
  }
  for (int64_t r = 0; r < rows; ++r, labels += n) {
    int64_t done = 0;
    for (int64_t i = runs.first[r]; i < runs.first[r + 1]; ++i) {
      std::fill(labels + done, labels + runs.start[i], 0);
      std::fill(labels + runs.start[i], labels + runs.end[i], number[i]);
      done = runs.end[i];
    }
    std::fill(labels + done, labels + n, 0);
  }
  return count;
}

// `mask` is (*batch, *shape), `labels` like it, `counts` (*batch).
ffi::Error components(ffi::ThreadPool pool, ffi::Buffer<ffi::PRED> mask,
                      ffi::Result<ffi::Buffer<ffi::S32>> labels,
                      ffi::Result<ffi::Buffer<ffi::S32>> counts, int64_t rank,
                      int64_t connectivity) {
  try {
    const auto dims = mask.dimensions();
    const Dims shape(dims.end() - rank, dims.end());
    int64_t size = 1;
    for (int64_t d : shape) size *= d;
    const int64_t images = static_cast<int64_t>(counts->element_count());
    const auto* from = reinterpret_cast<const uint8_t*>(mask.typed_data());
    parallel(pool, width_of(pool), images, [&](int64_t i) {
      counts->typed_data()[i] =
          label(from + i * size, shape, connectivity, labels->typed_data() + i * size);
    });
    return ffi::Error::Success();
  } catch (const std::exception& e) {
    return ffi::Error(ffi::ErrorCode::kInternal,
                      std::string("native connected components failed: ") + e.what());
  }
}

}  // namespace
}  // namespace jaxmed

XLA_FFI_DEFINE_HANDLER_SYMBOL(JaxmedComponents, jaxmed::components,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::PRED>>()
                                  .Ret<xla::ffi::Buffer<xla::ffi::S32>>()
                                  .Ret<xla::ffi::Buffer<xla::ffi::S32>>()
                                  .Attr<int64_t>("rank")
                                  .Attr<int64_t>("connectivity"));
