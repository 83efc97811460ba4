// The innermost sums of few_channels.cc, which includes this file once for each instruction set, in
// a namespace of its own: with FLOATS (numbers of its widest vector), ACCUMULATORS (sums that its
// registers hold) and TARGET (the attribute of a function that may use it).

template <int N>
struct Vector;
template <>
struct Vector<4> {
  typedef float type __attribute__((vector_size(16)));
};
template <>
struct Vector<8> {
  typedef float type __attribute__((vector_size(32)));
};
template <>
struct Vector<16> {
  typedef float type __attribute__((vector_size(64)));
};

// Computes P neighbouring voxels of one phase, from `at` on, in C channels. At an edge some taps of
// some voxels lie outside: they read zeros there, and voxels from `count` on are not written.
template <int W, int P, int C, bool Edge>
TARGET void tile(const Row& row, int64_t at, int64_t channel) {
  using V = typename Vector<W>::type;
  const int64_t width = row.channels_out;
  V sums[P][C];
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c) sums[p][c] = V{};
  for (int64_t k = 0; k < row.taps; ++k) {
    const Tap& tap = row.tap[k];
    const float* kernel = tap.kernel + channel * width;
    const float* from[P];
    for (int p = 0; p < P; ++p) {
      const int64_t i = at + p + tap.shift;
      from[p] = Edge && (i < 0 || i >= row.length) ? row.zeros : tap.line + i * width;
    }
    for (int64_t o = 0; o < width; o += W) {
      V weight[C];
#pragma GCC unroll 16
      for (int c = 0; c < C; ++c) __builtin_memcpy(&weight[c], kernel + c * width + o, sizeof(V));
#pragma GCC unroll 16
      for (int p = 0; p < P; ++p) {
        V value;
        __builtin_memcpy(&value, (Edge ? from[p] : from[0] + p * width) + o, sizeof(V));
#pragma GCC unroll 16
        for (int c = 0; c < C; ++c) sums[p][c] += value * weight[c];
      }
    }
  }
  // Every sum is folded to four lanes; four of them are added across together.
  using Four = Vector<4>::type;
  static_assert(P * C % 4 == 0);
  Four lanes[P * C * (W / 4)];
#pragma GCC unroll 16
  for (int p = 0; p < P; ++p)
#pragma GCC unroll 16
    for (int c = 0; c < C; ++c)
      __builtin_memcpy(&lanes[(p * C + c) * (W / 4)], &sums[p][c], sizeof(V));
  float totals[P * C];
  for (int i = 0; i < P * C; i += 4) {
    Four f[4];
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      f[j] = lanes[(i + j) * (W / 4)];
#pragma GCC unroll 4
      for (int k = 1; k < W / 4; ++k) f[j] += lanes[(i + j) * (W / 4) + k];
    }
    const Four low = Four{f[0][0], f[1][0], f[0][1], f[1][1]} +
                     Four{f[0][2], f[1][2], f[0][3], f[1][3]};
    const Four high = Four{f[2][0], f[3][0], f[2][1], f[3][1]} +
                      Four{f[2][2], f[3][2], f[2][3], f[3][3]};
    const Four total = Four{low[0], low[1], high[0], high[1]} +
                       Four{low[2], low[3], high[2], high[3]};
    __builtin_memcpy(totals + i, &total, sizeof total);
  }
  const int64_t count = Edge && row.count - at < P ? row.count - at : P;
  float* to = row.to + at * row.step + channel;
  if (row.step == C && count == P) {
    __builtin_memcpy(to, totals, sizeof totals);
    return;
  }
  for (int64_t p = 0; p < count; ++p)
    for (int c = 0; c < C; ++c) to[p * row.step + c] = totals[p * C + c];
}

// All voxels of one phase, in C channels. The last tile may repeat voxels of the one before.
template <int W, int C>
TARGET void line_of(const Row& row, int64_t channel) {
  constexpr int P = C == 1 ? (ACCUMULATORS > 12 ? 12 : 8) : ACCUMULATORS / C;
  int64_t low = 0, high = row.length - P;  // where no tap lies outside
  for (int64_t k = 0; k < row.taps; ++k) {
    if (-row.tap[k].shift > low) low = -row.tap[k].shift;
    if (row.length - P - row.tap[k].shift < high) high = row.length - P - row.tap[k].shift;
  }
  for (int64_t first = 0; first < row.count; first += P) {
    const int64_t at = first + P > row.count && row.count > P ? row.count - P : first;
    if (at >= low && at <= high && at + P <= row.count)
      tile<W, P, C, false>(row, at, channel);
    else
      tile<W, P, C, true>(row, at, channel);
  }
}

// Five channels and more are three or four at a time.
template <int W>
TARGET void channels_of(const Row& row) {
  for (int64_t c = 0; c < row.channels;) {
    const int64_t left = row.channels - c;
    if (left == 1) {
      line_of<W, 1>(row, c);
      c += 1;
    } else if (left == 2) {
      line_of<W, 2>(row, c);
      c += 2;
    } else if (left == 4 || left > 6) {
      line_of<W, 4>(row, c);
      c += 4;
    } else {
      line_of<W, 3>(row, c);
      c += 3;
    }
  }
}

inline void sum_row(const Row& row) {
  if (FLOATS >= 16 && row.channels_out % 16 == 0) return channels_of<FLOATS>(row);
  if (FLOATS >= 8 && row.channels_out % 8 == 0) return channels_of<FLOATS < 8 ? FLOATS : 8>(row);
  channels_of<4>(row);
}
