// Linear interpolation at points, its derivatives along axes, and the adjoint of all of them.
//
// Along one axis a point reads two voxels with the weights (1 - t, t), or (-1, 1) for the
// derivative. Over the 2^rank corners of its cell that is a tensor product: `spread` turns the
// corners into the values of all sets of axes (bit a of a set: derivative along axis a), and its
// transpose `gathered` turns one number a set into one a corner.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <exception>
#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "parallel.h"

#if defined(__GNUC__) && defined(__x86_64__)
#include <immintrin.h>
#define JAXMED_AVX2 __attribute__((target("avx2")))
#endif

namespace jaxmed {
namespace {

// As in _interpolate.py.
enum Mode : int64_t { kConstant, kNearest, kReflect, kMirror, kWrap, kGridWrap };

constexpr float kEdge = 1e-4f;
constexpr int64_t kPoints = 1 << 14;  // of a task
constexpr int64_t kShare = 1 << 16;   // of a task of the adjoint, which has voxels of its own

int64_t modulo(int64_t i, int64_t n) {
  i %= n;
  return i < 0 ? i + n : i;
}

int64_t extend(int64_t i, int64_t n, int64_t mode) {
  if (i >= 0 && i < n) return i;
  switch (mode) {
    case kReflect:
      i = modulo(i, 2 * n);
      return i < n ? i : 2 * n - 1 - i;
    case kConstant:
    case kWrap:
    case kMirror: {
      const int64_t period = std::max<int64_t>(2 * n - 2, 1);
      i = modulo(i, period);
      return i < n ? i : period - i;
    }
    case kGridWrap:
      return modulo(i, n);
    default:
      return i < 0 ? 0 : n - 1;
  }
}

// Where a point reads along one axis: two voxels, their weights, and those of the derivative.
struct Place {
  int64_t at[2];
  float value[2], slope[2];
};

// Returns false where the point is outside of an image that is 0 there.
inline bool locate(float x, int64_t n, int64_t mode, Place& place) {
  const float last = static_cast<float>(n - 1);
  float slope = 1;
  if (mode == kConstant) {
    if (!(x >= -kEdge && x <= last + kEdge)) return false;
  } else if (mode == kNearest) {
    if (x < 0 || x > last) slope = 0;
    x = x < 0 ? 0 : (x > last ? last : x);
  } else if (mode == kWrap && (x < 0 || x > last)) {
    const float period = std::max(last, 1.0f);
    x -= period * std::floor(x / period);
  }
  constexpr float far = 1 << 29;
  int64_t base = 0;
  float t = 0;
  if (x > -far && x < far) {
    base = static_cast<int32_t>(x);
    base -= x < static_cast<float>(base);
    t = x - static_cast<float>(base);
  } else {
    base = x > 0 ? (1 << 29) : -(1 << 29);
    t = x - std::floor(x);  // 0, or NaN for what is no number
  }
  place.value[0] = 1 - t;
  place.value[1] = t;
  place.slope[0] = -slope;
  place.slope[1] = slope;
  for (int k = 0; k < 2; ++k) place.at[k] = extend(base + k, n, mode);
  return true;
}

struct Problem {
  int64_t size[3], stride[3];  // of the image, the strides in numbers
  int64_t points, channels, mode;
  std::vector<int64_t> sets;
};

// Finds the corners of a point's cell: corner k has the second voxel along axis a if bit a of k is
// set. Returns false where the point is outside of an image that is 0 there.
template <int R>
inline bool locate_all(const Problem& p, const float* x, Place (&places)[R],
                       int64_t (&at)[1 << R]) {
  int64_t first = 0;
  bool inner = true;
  for (int a = 0; a < R; ++a) {
    // Within the image most modes are one.
    inner = inner && x[a] >= 0 && x[a] < static_cast<float>(p.size[a] - 1);
    if (!inner) break;
    const int32_t base = static_cast<int32_t>(x[a]);
    const float t = x[a] - static_cast<float>(base);
    places[a].value[0] = 1 - t;
    places[a].value[1] = t;
    places[a].slope[0] = -1;
    places[a].slope[1] = 1;
    first += base * p.stride[a];
  }
  if (inner) {
    at[0] = first;
    for (int a = 0; a < R; ++a)
      for (int k = 0; k < 1 << a; ++k) at[k | 1 << a] = at[k] + p.stride[a];
    return true;
  }
  for (int a = 0; a < R; ++a)
    if (!locate(x[a], p.size[a], p.mode, places[a])) return false;
  at[0] = 0;
  for (int a = 0; a < R; ++a) {
    const int64_t low = places[a].at[0] * p.stride[a], high = places[a].at[1] * p.stride[a];
    for (int k = 0; k < 1 << a; ++k) {
      at[k | 1 << a] = at[k] + high;
      at[k] += low;
    }
  }
  return true;
}

template <int R>
inline void spread(const Place (&places)[R], float (&v)[1 << R]) {
  for (int a = 0; a < R; ++a)
    for (int k = 0; k < 1 << R; ++k)
      if (!(k >> a & 1)) {
        const float low = v[k], high = v[k | 1 << a];
        v[k] = places[a].value[0] * low + places[a].value[1] * high;
        v[k | 1 << a] = places[a].slope[0] * low + places[a].slope[1] * high;
      }
}

template <int R>
inline void gathered(const Place (&places)[R], float (&v)[1 << R]) {
  for (int a = 0; a < R; ++a)
    for (int k = 0; k < 1 << R; ++k)
      if (!(k >> a & 1)) {
        const float value = v[k], slope = v[k | 1 << a];
        v[k] = places[a].value[0] * value + places[a].slope[0] * slope;
        v[k | 1 << a] = places[a].value[1] * value + places[a].slope[1] * slope;
      }
}

template <int R>
inline float value_at(const Place (&places)[R], const float* image, const int64_t (&at)[1 << R]) {
  float v[1 << R];
  for (int k = 0; k < 1 << R; ++k) v[k] = image[at[k]];
  for (int a = 0, left = 1 << R; a < R; ++a, left /= 2)
    for (int k = 0; k < left / 2; ++k)
      v[k] = places[a].value[0] * v[2 * k] + places[a].value[1] * v[2 * k + 1];
  return v[0];
}

// Points are gone through by the dozen where they lie in no boundary's reach, coordinate by
// coordinate, so that the compiler can use the processor's vectors; a loop is compiled for each
// generation of them. What is left goes point by point.
constexpr int kLanes = 32;

#if defined(__GNUC__) && !defined(__clang__) && defined(__x86_64__)
#define JAXMED_VECTORS __attribute__((target_clones("avx512f", "avx2", "default")))
#else
#define JAXMED_VECTORS
#endif
#define JAXMED_INLINE inline __attribute__((always_inline))

template <int R>
struct Lanes {
  int32_t at[kLanes];         // the first corner of a point's cell
  float t[R][kLanes];         // how far into it the point lies
  float slope[R][kLanes];     // 0 from where the image goes on as it ends
  bool cut;                   // some points are outside of an image that is 0 there
  int32_t inside[kLanes];     // if so, which are not
};

// Returns false if a point of the dozen needs more than the two voxels about it.
template <int R>
JAXMED_INLINE bool locate_lanes(const Problem& p, const float* x, Lanes<R>& lanes) {
  int far = 0;
  for (int a = 0; a < R; ++a) {
    const float last = static_cast<float>(p.size[a] - 1);
    for (int i = 0; i < kLanes; ++i) {
      const float y = x[i * R + a];
      far |= static_cast<int>(!(y >= 0)) | static_cast<int>(!(y < last));
    }
  }
  lanes.cut = far && p.mode == kConstant;
  if (far && !lanes.cut && p.mode != kNearest) return false;
  if (lanes.cut) {
    // A point that is outside by its rounding alone is gone to by itself.
    int edge = 0;
    for (int i = 0; i < kLanes; ++i) lanes.inside[i] = -1;
    for (int a = 0; a < R; ++a) {
      const float last = static_cast<float>(p.size[a] - 1);
      for (int i = 0; i < kLanes; ++i) {
        const float y = x[i * R + a];
        const int32_t here = -static_cast<int32_t>(y >= 0 && y < last);
        edge |= (y >= -kEdge && y <= last + kEdge) && !here;
        lanes.inside[i] &= here;
      }
    }
    if (edge) return false;
  } else if (far) {
    int lost = 0;  // what is no number
    for (int i = 0; i < kLanes * R; ++i) lost |= !(x[i] == x[i]);
    if (lost) return false;
  }
  for (int i = 0; i < kLanes; ++i) lanes.at[i] = 0;
  for (int a = 0; a < R; ++a) {
    if (p.size[a] < 2) return false;
    const float last = static_cast<float>(p.size[a] - 1);
    const int32_t final = static_cast<int32_t>(p.size[a] - 2);
    const int32_t stride = static_cast<int32_t>(p.stride[a]);
    for (int i = 0; i < kLanes; ++i) {
      const float given = x[i * R + a];
      const float y = given >= 0 ? (given > last ? last : given) : 0;
      int32_t base = static_cast<int32_t>(y);
      base = base > final ? final : base;
      lanes.t[a][i] = y - static_cast<float>(base);
      lanes.slope[a][i] = given < 0 || given >= last ? 0.0f : 1.0f;
      lanes.at[i] += base * stride;
    }
  }
  return true;
}

// The corners of the cells, one channel. Of one channel alone, two corners are neighbours and are
// loaded as one number of 64 bits. No vector instruction that gathers is as quick as single loads.
template <int R>
JAXMED_INLINE void corners(const Problem& p, const float* image, const Lanes<R>& lanes,
                           float (&v)[1 << R][kLanes]) {
  constexpr int top = 1 << (R - 1);
  for (int k = 0; k < top; ++k) {
    int64_t to = 0;
    for (int a = 0; a < R - 1; ++a) to += (k >> a & 1) * p.stride[a];
    const float* from = image + to;
    float both[2 * kLanes];
    if (p.channels == 1) {
      for (int i = 0; i < kLanes; i += 4) {
        std::memcpy(both + 2 * i, from + lanes.at[i], 8);
        std::memcpy(both + 2 * i + 2, from + lanes.at[i + 1], 8);
        std::memcpy(both + 2 * i + 4, from + lanes.at[i + 2], 8);
        std::memcpy(both + 2 * i + 6, from + lanes.at[i + 3], 8);
      }
    } else {
      const float* beside = from + p.channels;
      for (int i = 0; i < kLanes; ++i) {
        both[2 * i] = from[lanes.at[i]];
        both[2 * i + 1] = beside[lanes.at[i]];
      }
    }
    for (int i = 0; i < kLanes; ++i) {
      v[k][i] = both[2 * i];
      v[k | top][i] = both[2 * i + 1];
    }
  }
}

template <int R>
JAXMED_INLINE bool values_of(const Problem& p, const float* image, const float* x, float* out) {
  Lanes<R> lanes;
  if (!locate_lanes<R>(p, x, lanes)) return false;
  for (int64_t c = 0; c < p.channels; ++c) {
    float v[1 << R][kLanes];
    corners<R>(p, image + c, lanes, v);
    for (int a = 0, left = 1 << R; a < R; ++a, left /= 2)
      for (int k = 0; k < left / 2; ++k)
        for (int i = 0; i < kLanes; ++i)
          v[k][i] = (1 - lanes.t[a][i]) * v[2 * k][i] + lanes.t[a][i] * v[2 * k + 1][i];
    if (lanes.cut)
      for (int i = 0; i < kLanes; ++i) v[0][i] = lanes.inside[i] ? v[0][i] : 0.0f;
    for (int i = 0; i < kLanes; ++i) out[i * p.channels + c] = v[0][i];
  }
  return true;
}

// The slopes along all axes times `values`, summed over channels, or, where `tilting`, times
// `other` (points, rank), summed over axes.
template <int R>
JAXMED_INLINE bool slopes_of(const Problem& p, const float* image, const float* other,
                             const float* x, float* out, bool tilting) {
  Lanes<R> lanes;
  if (!locate_lanes<R>(p, x, lanes)) return false;
  float total[R][kLanes] = {};
  for (int64_t c = 0; c < p.channels; ++c) {
    float v[1 << R][kLanes];
    corners<R>(p, image + c, lanes, v);
    for (int a = 0; a < R; ++a)
      for (int k = 0; k < 1 << R; ++k)
        if (!(k >> a & 1)) {
          const int up = k | 1 << a;
          for (int i = 0; i < kLanes; ++i) {
            const float low = v[k][i], step = v[up][i] - low;
            v[k][i] = low + lanes.t[a][i] * step;
            v[up][i] = lanes.slope[a][i] * step;
          }
        }
    if (tilting) {
      float along[kLanes] = {};
      for (int a = 0; a < R; ++a)
        for (int i = 0; i < kLanes; ++i) along[i] += v[1 << a][i] * other[i * R + a];
      if (lanes.cut)
        for (int i = 0; i < kLanes; ++i) along[i] = lanes.inside[i] ? along[i] : 0.0f;
      for (int i = 0; i < kLanes; ++i) out[i * p.channels + c] = along[i];
    } else {
      for (int a = 0; a < R; ++a)
        for (int i = 0; i < kLanes; ++i) total[a][i] += v[1 << a][i] * other[i * p.channels + c];
    }
  }
  if (!tilting)
    for (int a = 0; a < R; ++a)
      for (int i = 0; i < kLanes; ++i)
        out[i * R + a] = !lanes.cut || lanes.inside[i] ? total[a][i] : 0.0f;
  return true;
}

#ifdef JAXMED_AVX2
// Of a plane of one channel or two the coordinates of points lie in turn, and stay so: a vector has
// both of four points. The two corners along a row (of one channel), or the two channels of a
// corner, are 64 bits, which are loaded as one number and never leave the registers.
struct Corners {
  __m256 t0, t1;  // how far into its cell each point lies, twice
  __m256 inside;  // where it is not cut off
  int64_t at[4];
};

JAXMED_AVX2 inline __m256 pairs_at(const float* from, const int64_t (&at)[4]) {
  const auto pair = [&](int k) { return reinterpret_cast<const double*>(from + at[k]); };
  const __m128d low = _mm_loadh_pd(_mm_load_sd(pair(0)), pair(1));
  const __m128d high = _mm_loadh_pd(_mm_load_sd(pair(2)), pair(3));
  return _mm256_castpd_ps(_mm256_insertf128_pd(_mm256_castpd128_pd256(low), high, 1));
}

JAXMED_AVX2 inline __m256 between(__m256 t, __m256 low, __m256 high) {
  const __m256 rest = _mm256_sub_ps(_mm256_set1_ps(1), t);
  return _mm256_add_ps(_mm256_mul_ps(rest, low), _mm256_mul_ps(t, high));
}

template <int C>
JAXMED_AVX2 bool plane(const Problem& p, const float* image, const float* x, float* out) {
  if (p.size[0] < 2 || p.size[1] < 2) return false;
  const int row = static_cast<int>(p.stride[0]);
  const float m = static_cast<float>(p.size[0] - 1), n = static_cast<float>(p.size[1] - 1);
  const int i = static_cast<int>(p.size[0] - 2), j = static_cast<int>(p.size[1] - 2);
  const __m256 zero = _mm256_setzero_ps(), last = _mm256_setr_ps(m, n, m, n, m, n, m, n);
  const __m256i final = _mm256_setr_epi32(i, j, i, j, i, j, i, j);
  const __m256i stride = _mm256_setr_epi32(row, C, row, C, row, C, row, C);
  const auto within = [&](__m256 y) JAXMED_AVX2 {
    return _mm256_and_ps(_mm256_cmp_ps(y, zero, _CMP_GE_OQ), _mm256_cmp_ps(y, last, _CMP_LT_OQ));
  };
  int all = 0xff;
  for (int k = 0; k < 2 * kLanes; k += 8)
    all &= _mm256_movemask_ps(within(_mm256_loadu_ps(x + k)));
  const bool far = all != 0xff, cut = far && p.mode == kConstant;
  if (far && !cut && p.mode != kNearest) return false;
  if (far) {
    // What is no number, or is outside by its rounding alone, is gone to by itself.
    const __m256 edge = _mm256_set1_ps(kEdge);
    int odd = 0;
    for (int k = 0; k < 2 * kLanes; k += 8) {
      const __m256 y = _mm256_loadu_ps(x + k);
      const __m256 near =
          _mm256_and_ps(_mm256_cmp_ps(y, _mm256_sub_ps(zero, edge), _CMP_GE_OQ),
                        _mm256_cmp_ps(y, _mm256_add_ps(last, edge), _CMP_LE_OQ));
      odd |= _mm256_movemask_ps(cut ? _mm256_andnot_ps(within(y), near)
                                    : _mm256_cmp_ps(y, y, _CMP_UNORD_Q));
    }
    if (odd) return false;
  }
  const auto found = [&](const float* points, Corners& corners) JAXMED_AVX2 {
    __m256 y = _mm256_loadu_ps(points);
    if (far) {
      const __m256 here = within(y);
      corners.inside = _mm256_and_ps(here, _mm256_permute_ps(here, 0xb1));
      y = _mm256_min_ps(_mm256_max_ps(y, zero), last);  // of no number the second: 0
    }
    const __m256i base = _mm256_min_epi32(_mm256_cvttps_epi32(y), final);
    const __m256 t = _mm256_sub_ps(y, _mm256_cvtepi32_ps(base));
    const __m256i steps = _mm256_mullo_epi32(base, stride);
    const __m256i sums = _mm256_add_epi32(steps, _mm256_srli_epi64(steps, 32));
    const __m256i low = _mm256_set1_epi64x(0xffffffff);
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(corners.at), _mm256_and_si256(sums, low));
    corners.t0 = _mm256_moveldup_ps(t);
    corners.t1 = _mm256_movehdup_ps(t);
    return between(corners.t0, pairs_at(image, corners.at), pairs_at(image + row, corners.at));
  };
  if constexpr (C == 1) {
    const auto halves = [&](const float* points) JAXMED_AVX2 {
      Corners corners;
      const __m256 value = found(points, corners);
      const __m256 rest = _mm256_sub_ps(_mm256_set1_ps(1), corners.t1);
      const __m256 both = _mm256_mul_ps(_mm256_blend_ps(rest, corners.t1, 0xaa), value);
      return cut ? _mm256_and_ps(both, corners.inside) : both;
    };
    for (int k = 0; k < kLanes; k += 8) {
      const __m256 sums = _mm256_hadd_ps(halves(x + 2 * k), halves(x + 2 * k + 8));
      const __m256d order = _mm256_permute4x64_pd(_mm256_castps_pd(sums), 0xd8);
      _mm256_storeu_ps(out + k, _mm256_castpd_ps(order));
    }
  } else {
    for (int k = 0; k < 2 * kLanes; k += 8) {
      Corners corners;
      const __m256 left = found(x + k, corners);
      const __m256 right = between(corners.t0, pairs_at(image + 2, corners.at),
                                   pairs_at(image + row + 2, corners.at));
      const __m256 value = between(corners.t1, left, right);
      _mm256_storeu_ps(out + k, cut ? _mm256_and_ps(value, corners.inside) : value);
    }
  }
  return true;
}

// What the processor can is asked once.
inline bool has_avx2() {
  static const bool has = __builtin_cpu_supports("avx2");
  return has;
}
#endif

JAXMED_VECTORS bool values_2(const Problem& p, const float* image, const float* x, float* out) {
  return values_of<2>(p, image, x, out);
}
JAXMED_VECTORS bool values_3(const Problem& p, const float* image, const float* x, float* out) {
  return values_of<3>(p, image, x, out);
}
JAXMED_VECTORS bool slopes_2(const Problem& p, const float* image, const float* other,
                             const float* x, float* out, bool tilting) {
  return slopes_of<2>(p, image, other, x, out, tilting);
}
JAXMED_VECTORS bool slopes_3(const Problem& p, const float* image, const float* other,
                             const float* x, float* out, bool tilting) {
  return slopes_of<3>(p, image, other, x, out, tilting);
}

template <int R>
inline bool values_by_lanes(const Problem& p, const float* image, const float* x, float* out) {
#ifdef JAXMED_AVX2
  if (R == 2 && p.channels <= 2 && has_avx2())
    return p.channels == 1 ? plane<1>(p, image, x, out) : plane<2>(p, image, x, out);
#endif
  if constexpr (R == 2) return values_2(p, image, x, out);
  if constexpr (R == 3) return values_3(p, image, x, out);
  return false;
}

template <int R>
inline bool slopes_by_lanes(const Problem& p, const float* image, const float* other,
                            const float* x, float* out, bool tilting) {
  if constexpr (R == 2) return slopes_2(p, image, other, x, out, tilting);
  if constexpr (R == 3) return slopes_3(p, image, other, x, out, tilting);
  return false;
}

// Whether voxels of an image can be numbered by 32 bits.
inline bool small(const Problem& p) { return p.size[0] * p.stride[0] < INT32_MAX; }

// out (points, sets, channels) from image (*size, channels), for points first ... last - 1.
template <int R>
void read(const Problem& p, const float* image, const float* points, float* out, int64_t first,
          int64_t last) {
  const int64_t sets = static_cast<int64_t>(p.sets.size());
  const bool values = sets == 1 && p.sets[0] == 0, dozens = values && small(p);
  for (int64_t i = first; i < last; ++i) {
    if (dozens && (i - first) % kLanes == 0)
      while (i + kLanes <= last &&
             values_by_lanes<R>(p, image, points + i * R, out + i * p.channels))
        i += kLanes;
    if (i == last) break;
    float* to = out + i * sets * p.channels;
    Place places[R];
    int64_t at[1 << R];
    if (!locate_all<R>(p, points + i * R, places, at)) {
      std::fill(to, to + sets * p.channels, 0.0f);
      continue;
    }
    for (int64_t c = 0; c < p.channels; ++c) {
      if (values) {
        to[c] = value_at<R>(places, image + c, at);
        continue;
      }
      float v[1 << R];
      for (int k = 0; k < 1 << R; ++k) v[k] = image[at[k] + c];
      spread<R>(places, v);
      for (int64_t s = 0; s < sets; ++s) to[s * p.channels + c] = v[p.sets[s]];
    }
  }
}

// The derivatives of one channel along all axes.
template <int R>
inline void slopes_at(const Place (&places)[R], const float* image, const int64_t (&at)[1 << R],
                      float (&slopes)[R]) {
  float v[1 << R];
  for (int k = 0; k < 1 << R; ++k) v[k] = image[at[k]];
  spread<R>(places, v);
  for (int a = 0; a < R; ++a) slopes[a] = v[1 << a];
}

// out (points, channels): the slopes times along (points, rank), summed over axes.
template <int R>
void tilt(const Problem& p, const float* image, const float* along, const float* points, float* out,
          int64_t first, int64_t last) {
  const bool dozens = small(p);
  for (int64_t i = first; i < last; ++i) {
    if (dozens && (i - first) % kLanes == 0)
      while (i + kLanes <= last &&
             slopes_by_lanes<R>(p, image, along + i * R, points + i * R, out + i * p.channels,
                                true))
        i += kLanes;
    if (i == last) break;
    float* to = out + i * p.channels;
    Place places[R];
    int64_t at[1 << R];
    if (!locate_all<R>(p, points + i * R, places, at)) {
      std::fill(to, to + p.channels, 0.0f);
      continue;
    }
    for (int64_t c = 0; c < p.channels; ++c) {
      float slopes[R], total = 0;
      slopes_at<R>(places, image + c, at, slopes);
      for (int a = 0; a < R; ++a) total += slopes[a] * along[i * R + a];
      to[c] = total;
    }
  }
}

// out (points, rank): the slopes times values (points, channels), summed over channels.
template <int R>
void slope(const Problem& p, const float* image, const float* values, const float* points,
           float* out, int64_t first, int64_t last) {
  const bool dozens = small(p);
  for (int64_t i = first; i < last; ++i) {
    if (dozens && (i - first) % kLanes == 0)
      while (i + kLanes <= last &&
             slopes_by_lanes<R>(p, image, values + i * p.channels, points + i * R, out + i * R,
                                false))
        i += kLanes;
    if (i == last) break;
    float total[R] = {};
    Place places[R];
    int64_t at[1 << R];
    if (locate_all<R>(p, points + i * R, places, at)) {
      const float* value = values + i * p.channels;
      for (int64_t c = 0; c < p.channels; ++c) {
        float slopes[R];
        slopes_at<R>(places, image + c, at, slopes);
        for (int a = 0; a < R; ++a) total[a] += slopes[a] * value[c];
      }
    }
    for (int a = 0; a < R; ++a) out[i * R + a] = total[a];
  }
}

// Adds the adjoint of `read` to image, of which rows before `skipped` are left out.
template <int R>
void add(const Problem& p, const float* values, const float* points, float* image, int64_t first,
         int64_t last, int64_t skipped) {
  const int64_t sets = static_cast<int64_t>(p.sets.size());
  image -= skipped * p.stride[0];
  for (int64_t i = first; i < last; ++i) {
    const float* from = values + i * sets * p.channels;
    Place places[R];
    int64_t at[1 << R];
    if (!locate_all<R>(p, points + i * R, places, at)) continue;
    for (int64_t c = 0; c < p.channels; ++c) {
      float v[1 << R] = {};
      for (int64_t s = 0; s < sets; ++s) v[p.sets[s]] += from[s * p.channels + c];
      gathered<R>(places, v);
      for (int k = 0; k < 1 << R; ++k) image[at[k] + c] += v[k];
    }
  }
}

// Points are divided by their number alone, so that the threads of a machine change no bit. Each
// part adds to voxels of its own, those of the rows (along the first axis) that it reaches.
template <int R>
void put(ffi::ThreadPool& pool, const Problem& p, const float* values, const float* points,
         float* image) {
  const int64_t parts = std::min<int64_t>(p.points / kShare, 16);
  const int64_t rows = p.size[0], row = p.stride[0];
  std::vector<int64_t> low(parts, rows), high(parts, 0);
  int64_t total = 0;
  if (parts > 1) {
    parallel(pool, width_of(pool), parts, [&](int64_t k) {
      int64_t least = rows, most = 0;
      for (int64_t i = p.points * k / parts; i < p.points * (k + 1) / parts; ++i) {
        Place place;
        if (!locate(points[i * R], rows, p.mode, place)) continue;
        least = std::min({least, place.at[0], place.at[1]});
        most = std::max({most, place.at[0] + 1, place.at[1] + 1});
      }
      low[k] = std::min(least, most);
      high[k] = most;
    });
    for (int64_t k = 0; k < parts; ++k) total += high[k] - low[k];
  }
  std::fill(image, image + rows * row, 0.0f);
  // Points in no order would have an image each: one after the other is better.
  if (parts <= 1 || total > 4 * rows) {
    add<R>(p, values, points, image, 0, p.points, 0);
    return;
  }
  std::vector<std::vector<float>> own(parts);
  parallel(pool, width_of(pool), parts, [&](int64_t k) {
    own[k].assign((high[k] - low[k]) * row, 0.0f);
    add<R>(p, values, points, own[k].data(), p.points * k / parts, p.points * (k + 1) / parts,
           low[k]);
  });
  parallel(pool, width_of(pool), rows, [&](int64_t r) {
    float* to = image + r * row;
    for (int64_t k = 0; k < parts; ++k) {
      if (r < low[k] || r >= high[k]) continue;
      const float* from = own[k].data() + (r - low[k]) * row;
      for (int64_t i = 0; i < row; ++i) to[i] += from[i];
    }
  });
}

int64_t product(const ffi::Span<const int64_t>& dims, size_t first, size_t last) {
  int64_t n = 1;
  for (size_t i = first; i < last; ++i) n *= dims[i];
  return n;
}

// image (images, *size, channels), points (points, *out, rank), values (images, *out, ...).
ffi::Error problem(const ffi::Span<const int64_t>& image, const ffi::Span<const int64_t>& points,
                   ffi::Span<const int64_t> sets, int64_t mode, Problem& p) {
  const size_t rank = image.size() - 2;
  if (rank < 1 || rank > 3)
    return ffi::Error(ffi::ErrorCode::kInvalidArgument, "interpolation of 1 to 3 axes");
  p.channels = image[rank + 1];
  p.points = product(points, 1, points.size() - 1);
  p.mode = mode;
  p.sets.assign(sets.begin(), sets.end());
  int64_t stride = p.channels;
  for (size_t a = rank; a-- > 0;) {
    p.size[a] = image[a + 1];
    p.stride[a] = stride;
    stride *= p.size[a];
  }
  return ffi::Error::Success();
}

using Floats = ffi::Buffer<ffi::F32>;

// Calls task(image, points, first, last) for parts of the points of all images.
void for_parts(ffi::ThreadPool& pool, const Problem& p, int64_t images,
               const std::function<void(int64_t, int64_t, int64_t)>& task) {
  const int64_t parts = (p.points + kPoints - 1) / kPoints;
  parallel(pool, width_of(pool), images * parts, [&](int64_t i) {
    const int64_t first = i % parts * kPoints;
    task(i / parts, first, std::min(first + kPoints, p.points));
  });
}

// The numbers from one example of a batch to the next; 0 for a batch of 1, which serves all.
int64_t step(const Floats& buffer) {
  const auto dims = buffer.dimensions();
  return dims[0] == 1 ? 0 : product(dims, 1, dims.size());
}

// Points of an image's own shape that were given as displacements, first ... last - 1 of them.
template <int R>
JAXMED_INLINE void place(const int64_t (&shape)[3], const float* displacement, float* points,
                         int64_t first, int64_t last) {
  for (int64_t i = first; i < last;) {
    float at[R];
    for (int64_t a = R - 1, rest = i; a >= 0; rest /= shape[a], --a)
      at[a] = static_cast<float>(rest % shape[a]);
    const int64_t column = i % shape[R - 1];
    const int64_t run = std::min(last - i, shape[R - 1] - column);
    const float* from = displacement + i * R;
    float* to = points + (i - first) * R;
    const int32_t begin = static_cast<int32_t>(column);
    for (int32_t k = 0; k < run; ++k) {
      for (int a = 0; a < R - 1; ++a) to[k * R + a] = at[a] + from[k * R + a];
      to[k * R + R - 1] = static_cast<float>(begin + k) + from[k * R + R - 1];
    }
    i += run;
  }
}

JAXMED_VECTORS void place_2(const int64_t (&shape)[3], const float* displacement, float* points,
                            int64_t first, int64_t last) {
  place<2>(shape, displacement, points, first, last);
}

template <int R>
inline void placed(const int64_t (&shape)[3], const float* displacement, float* points,
                   int64_t first, int64_t last) {
  if constexpr (R == 2)
    place_2(shape, displacement, points, first, last);
  else
    place<R>(shape, displacement, points, first, last);
}

// `read`, at places of the points' own grid plus what is given of them where `moved`.
template <int R>
void read_all(ffi::ThreadPool& pool, const Problem& p, const Floats& image, const Floats& points,
              ffi::Result<Floats>& out, bool moved) {
  const int64_t width = p.channels * static_cast<int64_t>(p.sets.size());
  const int64_t image_step = step(image), points_step = step(points);
  int64_t shape[3] = {1, 1, 1};
  for (int a = 0; a < R && moved; ++a) shape[a] = points.dimensions()[a + 1];
  for_parts(pool, p, out->dimensions()[0], [&](int64_t b, int64_t first, int64_t last) {
    const float* given = points.typed_data() + b * points_step;
    const float* from = image.typed_data() + b * image_step;
    float* to = out->typed_data() + b * p.points * width;
    if (!moved) {
      read<R>(p, from, given, to, first, last);
      return;
    }
    constexpr int64_t kBlock = 16 * kLanes;  // so that the processor's nearest memory holds them
    float block[kBlock * R];
    for (int64_t i = first; i < last; i += kBlock) {
      const int64_t end = std::min(i + kBlock, last);
      placed<R>(shape, given, block, i, end);
      read<R>(p, from, block, to + i * width, 0, end - i);
    }
  });
}

// `tilt`, or `slope` where `sloping`: `other` is then the values.
template <int R>
void tilt_all(ffi::ThreadPool& pool, const Problem& p, const Floats& image, const Floats& other,
              const Floats& points, ffi::Result<Floats>& out, bool sloping) {
  const int64_t width = sloping ? R : p.channels;
  const int64_t image_step = step(image), other_step = step(other), points_step = step(points);
  for_parts(pool, p, out->dimensions()[0], [&](int64_t b, int64_t first, int64_t last) {
    (sloping ? slope<R> : tilt<R>)(p, image.typed_data() + b * image_step,
                                   other.typed_data() + b * other_step,
                                   points.typed_data() + b * points_step,
                                   out->typed_data() + b * p.points * width, first, last);
  });
}

template <int R>
void put_all(ffi::ThreadPool& pool, const Problem& p, const Floats& values, const Floats& points,
             ffi::Result<Floats>& image) {
  const int64_t images = image->dimensions()[0];
  const int64_t voxels = p.size[0] * p.stride[0];
  const int64_t values_step = step(values), points_step = step(points);
  const auto one = [&](int64_t b) {
    put<R>(pool, p, values.typed_data() + b * values_step, points.typed_data() + b * points_step,
           image->typed_data() + b * voxels);
  };
  if (images >= width_of(pool))
    parallel(pool, width_of(pool), images, one);
  else
    for (int64_t b = 0; b < images; ++b) one(b);
}

ffi::Error read_points(ffi::ThreadPool pool, Floats image, Floats points, ffi::Result<Floats> out,
                       ffi::Span<const int64_t> sets, int64_t mode, bool moved) {
  try {
    Problem p;
    if (auto error = problem(image.dimensions(), points.dimensions(), sets, mode, p);
        error.failure())
      return error;
    const size_t rank = image.dimensions().size() - 2;
    if (moved && points.dimensions().size() != rank + 2)
      return ffi::Error(ffi::ErrorCode::kInvalidArgument, "displacements of another rank");
    if (rank == 1) read_all<1>(pool, p, image, points, out, moved);
    if (rank == 2) read_all<2>(pool, p, image, points, out, moved);
    if (rank == 3) read_all<3>(pool, p, image, points, out, moved);
    return ffi::Error::Success();
  } catch (const std::exception& e) {
    return ffi::Error(ffi::ErrorCode::kInternal,
                      std::string("native interpolation failed: ") + e.what());
  }
}

ffi::Error tilt_points(ffi::ThreadPool pool, Floats image, Floats other, Floats points,
                       ffi::Result<Floats> out, int64_t mode, bool sloping) {
  try {
    Problem p;
    if (auto error = problem(image.dimensions(), points.dimensions(), {}, mode, p);
        error.failure())
      return error;
    const size_t rank = image.dimensions().size() - 2;
    if (rank == 1) tilt_all<1>(pool, p, image, other, points, out, sloping);
    if (rank == 2) tilt_all<2>(pool, p, image, other, points, out, sloping);
    if (rank == 3) tilt_all<3>(pool, p, image, other, points, out, sloping);
    return ffi::Error::Success();
  } catch (const std::exception& e) {
    return ffi::Error(ffi::ErrorCode::kInternal,
                      std::string("native slope of interpolation failed: ") + e.what());
  }
}

ffi::Error put_points(ffi::ThreadPool pool, Floats values, Floats points,
                      ffi::Result<Floats> image, ffi::Span<const int64_t> sets, int64_t mode) {
  try {
    Problem p;
    if (auto error = problem(image->dimensions(), points.dimensions(), sets, mode, p);
        error.failure())
      return error;
    const size_t rank = image->dimensions().size() - 2;
    if (rank == 1) put_all<1>(pool, p, values, points, image);
    if (rank == 2) put_all<2>(pool, p, values, points, image);
    if (rank == 3) put_all<3>(pool, p, values, points, image);
    return ffi::Error::Success();
  } catch (const std::exception& e) {
    return ffi::Error(ffi::ErrorCode::kInternal,
                      std::string("native adjoint of interpolation failed: ") + e.what());
  }
}

}  // namespace
}  // namespace jaxmed

XLA_FFI_DEFINE_HANDLER_SYMBOL(JaxmedReadPoints, jaxmed::read_points,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Attr<xla::ffi::Span<const int64_t>>("sets")
                                  .Attr<int64_t>("mode")
                                  .Attr<bool>("moved"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(JaxmedTiltPoints, jaxmed::tilt_points,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Attr<int64_t>("mode")
                                  .Attr<bool>("sloping"));

XLA_FFI_DEFINE_HANDLER_SYMBOL(JaxmedPutPoints, jaxmed::put_points,
                              xla::ffi::Ffi::Bind()
                                  .Ctx<xla::ffi::ThreadPool>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Arg<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Ret<xla::ffi::Buffer<xla::ffi::F32>>()
                                  .Attr<xla::ffi::Span<const int64_t>>("sets")
                                  .Attr<int64_t>("mode"));
