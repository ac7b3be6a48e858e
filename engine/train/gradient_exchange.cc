#include "engine/train/gradient_exchange.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "engine/base/check.h"
#include "engine/base/integers.h"
#include "engine/kernels/elementwise/elementwise.h"

namespace lockstep::inline v0_1 {
namespace {

constexpr int64_t kPiece = 4096;  // floats that one thread adds up at once: they stay in its cache

std::span<const std::byte> Bytes(std::span<const float> floats) { return std::as_bytes(floats); }

// Neighbours become one.
void Append(std::vector<IndexRange>& ranges, IndexRange range) {
  if (!ranges.empty() && ranges.back().end == range.begin) {
    ranges.back().end = range.end;
  } else {
    ranges.push_back(range);
  }
}

}  // namespace

GradientExchange::GradientExchange(Communicator& communicator, ParameterStore& store, Wire wire)
    : communicator_(communicator),
      store_(store),
      wire_(wire),
      me_(communicator.rank()),
      buckets_of_(store.infos().size()),
      owned_(static_cast<size_t>(communicator.size())) {}

Result<std::unique_ptr<GradientExchange>> GradientExchange::Make(
    Communicator& communicator, ParameterStore& store, std::span<const int> final_order,
    const GradientExchangeOptions& options) {
  std::unique_ptr<GradientExchange> exchange(
      new GradientExchange(communicator, store, options.wire));
  exchange->CutIntoBuckets(final_order, options);
  LOCKSTEP_TRY(exchange->BookMessages());
  return exchange;
}

void GradientExchange::CutIntoBuckets(std::span<const int> final_order,
                                      const GradientExchangeOptions& options) {
  const int64_t floats = store_.floats();
  const int64_t cell = options.cell;
  const auto cells = static_cast<size_t>(CeilDiv(floats, cell));
  // When each cell is final: what no operation reads has its gradient, zero, from the beginning,
  // and a cell that holds frozen parameters alone has none.
  constexpr int kFrozen = -1;
  std::vector<int> turn(store_.infos().size(), 0), final(cells, kFrozen);
  for (size_t i = 0; i < final_order.size(); ++i)
    turn[static_cast<size_t>(final_order[i])] = static_cast<int>(i) + 1;
  const auto cells_of = [&](const ParameterInfo& info) {
    const int64_t last = std::max(info.offset, info.offset + info.shape.size() - 1);
    return IndexRange{info.offset / cell,
                      info.shape.size() == 0 ? info.offset / cell : last / cell + 1};
  };
  for (size_t p = 0; p < store_.infos().size(); ++p) {
    const ParameterInfo& info = store_.infos()[p];
    if (info.frozen) continue;
    const IndexRange of = cells_of(info);
    for (int64_t c = of.begin; c < of.end; ++c)
      final[static_cast<size_t>(c)] = std::max(final[static_cast<size_t>(c)], turn[p]);
  }
  std::vector<int64_t> order;
  for (size_t c = 0; c < cells; ++c) {
    if (final[c] != kFrozen) order.push_back(static_cast<int64_t>(c));
  }
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return final[static_cast<size_t>(a)] < final[static_cast<size_t>(b)];
  });

  const int64_t bytes =
      options.bucket_bytes > 0 ? options.bucket_bytes : DefaultBucketBytes(floats * 4);
  const auto count = static_cast<int64_t>(order.size());
  const int64_t all = std::max<int64_t>(1, count * cell * 4 / bytes);
  const int ranks = communicator_.size();
  std::vector<std::vector<char>> has(store_.infos().size());
  for (int64_t b = 0; b < all && count > 0; ++b) {
    const IndexRange of = ShardRange(count, all, b);
    std::vector<int64_t> in(order.begin() + of.begin, order.begin() + of.end);
    std::sort(in.begin(), in.end());
    Bucket bucket;
    for (int r = 0; r < ranks; ++r) {
      const IndexRange share = ShardRange(std::ssize(in), ranks, r);
      std::vector<IndexRange> ranges;
      for (int64_t i = share.begin; i < share.end; ++i) {
        const int64_t begin = in[static_cast<size_t>(i)] * cell;
        Append(ranges, {begin, std::min(floats, begin + cell)});
      }
      bucket.owned.push_back(std::move(ranges));
    }
    std::string first, last;
    for (size_t p = 0; p < store_.infos().size(); ++p) {
      const ParameterInfo& info = store_.infos()[p];
      const IndexRange mine = cells_of(info);
      const auto at = std::lower_bound(in.begin(), in.end(), mine.begin);
      if (info.frozen || at == in.end() || *at >= mine.end) continue;
      if (turn[p] > 0) {
        buckets_of_[p].push_back(static_cast<int>(b));
        ++bucket.parameters;
      }
      if (first.empty()) first = info.name;
      last = info.name;
    }
    bucket.name = first == last ? first : first + " to " + last;
    buckets_.push_back(std::move(bucket));
  }
  for (int r = 0; r < ranks; ++r) {
    std::vector<IndexRange>& owned = owned_[static_cast<size_t>(r)];
    for (const Bucket& bucket : buckets_) {
      const std::vector<IndexRange>& part = bucket.owned[static_cast<size_t>(r)];
      owned.insert(owned.end(), part.begin(), part.end());
    }
    std::sort(owned.begin(), owned.end(),
              [](const IndexRange& a, const IndexRange& b) { return a.begin < b.begin; });
    std::vector<IndexRange> joined;
    for (const IndexRange& range : owned) Append(joined, range);
    owned = std::move(joined);
  }
}

// Of ranges of the flat arrays, the gradients, and behind them what further gradients there are of
// the same elements.
std::vector<std::span<float>> GradientExchange::GradientsOf(
    std::span<const IndexRange> floats) const {
  const std::span<float> all = store_.all_gradients();
  std::vector<std::span<float>> spans;
  for (const IndexRange& range : floats) {
    spans.push_back(
        all.subspan(static_cast<size_t>(range.begin), static_cast<size_t>(range.size())));
  }
  for (int k = 0; k < store_.further_gradients(); ++k) {
    const ParameterInfo& info = store_.infos()[static_cast<size_t>(store_.further_parameter(k))];
    const std::span<float> further = store_.further_gradient(k).span<float>();
    for (const IndexRange& range : floats) {
      const int64_t begin = std::max(range.begin, info.offset);
      const int64_t end = std::min(range.end, info.offset + info.shape.size());
      if (begin < end)
        spans.push_back(further.subspan(static_cast<size_t>(begin - info.offset),
                                        static_cast<size_t>(end - begin)));
    }
  }
  return spans;
}

Status GradientExchange::BookMessages() {
  const int ranks = communicator_.size();
  const auto others = static_cast<size_t>(ranks - 1);
  const std::span<float> values = store_.ParametersToWrite().values;
  const auto of_values = [&](const IndexRange& range) {
    return values.subspan(static_cast<size_t>(range.begin), static_cast<size_t>(range.size()));
  };
  for (Bucket& bucket : buckets_) {
    const std::vector<IndexRange>& owned = bucket.owned[static_cast<size_t>(me_)];
    bucket.mine = GradientsOf(owned);
    for (size_t i = 0; i < bucket.mine.size(); ++i) {
      const int64_t n = std::ssize(bucket.mine[i]);
      for (int64_t begin = 0; begin < n; begin += kPiece)
        bucket.pieces.push_back({i, bucket.chunk, begin, std::min(n, begin + kPiece)});
      bucket.chunk += n;
    }
    const auto chunk = static_cast<size_t>(bucket.chunk);
    bucket.received.resize(others * chunk);
    size_t to_send = 0;
    for (int r = 0; r < ranks; ++r) {
      bucket.theirs.push_back(r == me_ ? std::vector<std::span<float>>{}
                                       : GradientsOf(bucket.owned[static_cast<size_t>(r)]));
      for (const std::span<float>& span : bucket.theirs.back()) to_send += span.size();
    }
    if (wire_ == Wire::kBF16) {
      bucket.received_bf16.resize(others * chunk);
      bucket.sent_bf16.resize(to_send);
    }
    std::vector<Outgoing> out, values_out;
    std::vector<Incoming> in, values_in;
    size_t packed = 0;
    for (int r = 0; r < ranks; ++r) {
      if (r == me_) continue;
      const std::vector<std::span<float>>& theirs = bucket.theirs[static_cast<size_t>(r)];
      if (wire_ == Wire::kBF16) {
        const size_t begin = packed;
        for (const std::span<float>& span : theirs) packed += span.size();
        const std::span<const BFloat16> message(bucket.sent_bf16.data() + begin, packed - begin);
        if (!message.empty()) out.push_back({r, std::as_bytes(message)});
        const std::span<BFloat16> comes(bucket.received_bf16.data() + Other(r) * chunk, chunk);
        if (chunk > 0) in.push_back({r, std::as_writable_bytes(comes)});
      } else {
        for (const std::span<float>& span : theirs) out.push_back({r, Bytes(span)});
        float* to = bucket.received.data() + Other(r) * chunk;
        for (const std::span<float>& span : bucket.mine) {
          in.push_back({r, std::as_writable_bytes(std::span(to, span.size()))});
          to += span.size();
        }
      }
      for (const IndexRange& range : owned) values_out.push_back({r, Bytes(of_values(range))});
      for (const IndexRange& range : bucket.owned[static_cast<size_t>(r)])
        values_in.push_back({r, std::as_writable_bytes(of_values(range))});
    }
    for (const Outgoing& message : out)
      bucket.sent_bytes += static_cast<int64_t>(message.bytes.size());
    LOCKSTEP_TRY_ASSIGN(bucket.gradients, communicator_.Book("gradients of " + bucket.name,
                                                             std::move(out), std::move(in)));
    LOCKSTEP_TRY_ASSIGN(bucket.values,
                        communicator_.Book("new values of " + bucket.name, std::move(values_out),
                                           std::move(values_in)));
  }
  return Status::Ok();
}

void GradientExchange::Begin() {
  for (Bucket& bucket : buckets_) {
    bucket.waits_for = bucket.parameters;
    bucket.done = false;
  }
  begin_ = std::chrono::steady_clock::now();
  next_ = 0;
  status_ = Status::Ok();
}

void GradientExchange::Final(Context& ctx, int parameter) {
  for (const int b : buckets_of_[static_cast<size_t>(parameter)])
    --buckets_[static_cast<size_t>(b)].waits_for;
  StartBuckets(ctx);
  for (size_t b = 0; b < next_ && status_.ok(); ++b) {
    Bucket& bucket = buckets_[b];
    if (bucket.done) continue;
    const Result<bool> done = bucket.gradients->Done();
    if (!done.ok()) status_ = done.status();
    bucket.done = done.ok() && *done;
    bucket.done_at = Now();
  }
}

void GradientExchange::StartBuckets(Context& ctx) {
  for (; next_ < buckets_.size() && buckets_[next_].waits_for == 0 && status_.ok(); ++next_) {
    if (wire_ == Wire::kBF16) Pack(ctx, buckets_[next_]);
    buckets_[next_].started_at = Now();
    status_ = buckets_[next_].gradients->Start();
  }
}

void GradientExchange::Pack(Context& ctx, Bucket& bucket) {
  BFloat16* to = bucket.sent_bf16.data();
  for (const std::vector<std::span<float>>& theirs : bucket.theirs) {
    for (const std::span<float>& span : theirs) {
      const int64_t n = std::ssize(span);
      ctx.For(CeilDiv(n, kPiece), 2 * n, [&](int64_t piece) {
        const int64_t begin = piece * kPiece, end = std::min(n, begin + kPiece);
        for (int64_t i = begin; i < end; ++i) to[i] = BFloat16(span[static_cast<size_t>(i)]);
      });
      to += n;
    }
  }
}

// Slot r of an element is what rank r has of it: MergeTree over the slots, into the gradient.
void GradientExchange::Merge(Context& ctx, Bucket& bucket) {
  const int ranks = communicator_.size();
  ctx.For(std::ssize(bucket.pieces), bucket.chunk * ranks, [&](int64_t p) {
    const Piece& piece = bucket.pieces[static_cast<size_t>(p)];
    const int64_t n = piece.end - piece.begin;
    float* own = bucket.mine[piece.span].data() + piece.begin;
    const auto received = [&](int64_t rank) {
      return bucket.received.data() +
             static_cast<int64_t>(Other(static_cast<int>(rank))) * bucket.chunk + piece.before +
             piece.begin;
    };
    const auto slot = [&](int64_t rank) { return rank == me_ ? own : received(rank); };
    if (wire_ == Wire::kBF16) {
      for (int64_t i = 0; i < n; ++i) own[i] = static_cast<float>(BFloat16(own[i]));
      for (int r = 0; r < ranks; ++r) {
        if (r == me_) continue;
        float* to = received(r);
        const BFloat16* from = bucket.received_bf16.data() + (to - bucket.received.data());
        for (int64_t i = 0; i < n; ++i) to[i] = static_cast<float>(from[i]);
      }
    }
    MergeTree(0, ranks,
              [&](int64_t into, int64_t from) { kernels::AddTo(slot(from), slot(into), n); });
    if (me_ != 0) std::copy_n(slot(0), n, own);
  });
}

Status GradientExchange::FinishGradients(Context& ctx) {
  backward_seconds_ = Now();
  for (Bucket& bucket : buckets_) bucket.waits_for = 0;
  StartBuckets(ctx);
  for (Bucket& bucket : buckets_) {
    LOCKSTEP_TRY(status_);
    if (!bucket.done) {
      status_ = bucket.gradients->Wait();
      bucket.done_at = Now();
    }
    if (status_.ok()) Merge(ctx, bucket);
  }
  LOCKSTEP_TRY(status_);
  store_.AddFurtherGradients(ctx, owned());
  return Status::Ok();
}

Status GradientExchange::GatherValues() {
  for (Bucket& bucket : buckets_) LOCKSTEP_TRY(bucket.values->Start());
  for (Bucket& bucket : buckets_) LOCKSTEP_TRY(bucket.values->Wait());
  return Status::Ok();
}

double GradientExchange::Now() const {
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin_).count();
}

GradientExchange::Times GradientExchange::times(size_t bucket) const {
  const Bucket& of = buckets_[bucket];
  return {of.name, of.sent_bytes, of.started_at, of.done_at};
}

int64_t GradientExchange::bytes() const {
  size_t bytes = 0;
  for (const Bucket& bucket : buckets_) {
    bytes += bucket.received.size() * sizeof(float) +
             (bucket.sent_bf16.size() + bucket.received_bf16.size()) * sizeof(BFloat16);
  }
  return static_cast<int64_t>(bytes);
}

}  // namespace lockstep
