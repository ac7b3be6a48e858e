#include "tools/scale/collectives.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <functional>
#include <memory>
#include <utility>

#include "engine/comm/agreement.h"
#include "engine/parallel/shards.h"
#include "tools/scale/statistics.h"

namespace lockstep::inline v0_1::scale {
namespace {

class Timed {
 public:
  Timed(Communicator& communicator, Collective collective, int64_t bytes)
      : communicator_(communicator),
        collective_(collective),
        ranks_(communicator.size()),
        rank_(communicator.rank()) {
    const auto size = static_cast<size_t>(bytes);
    mine_.resize(size);
    all_.resize(collective == Collective::kAllGather ? size * static_cast<size_t>(ranks_) : size);
  }

  Status Book() {
    if (collective_ == Collective::kPointToPoint) {
      LOCKSTEP_TRY_ASSIGN(there_, Message(0, ranks_ - 1));
      LOCKSTEP_TRY_ASSIGN(back_, Message(ranks_ - 1, 0));
    } else if (collective_ == Collective::kGradients) {
      LOCKSTEP_TRY_ASSIGN(there_, Shares(/*to_owners=*/true));
      LOCKSTEP_TRY_ASSIGN(back_, Shares(/*to_owners=*/false));
    }
    return Status::Ok();
  }

  Status Run() {
    switch (collective_) {
      case Collective::kAllGather:
        return communicator_.AllGather(mine_, all_);
      case Collective::kBroadcast:
        LOCKSTEP_TRY(communicator_.Broadcast(all_, 0));
        return communicator_.Barrier();
      default:
        for (Exchange* const exchange : {there_.get(), back_.get()}) {
          LOCKSTEP_TRY(exchange->Start());
          LOCKSTEP_TRY(exchange->Wait());
        }
        return Status::Ok();
    }
  }

  double moved() const {
    const auto bytes = static_cast<double>(mine_.size()), others = ranks_ - 1.0;
    switch (collective_) {
      case Collective::kAllGather:
        return bytes * others;
      case Collective::kGradients:
        return 2.0 * bytes * others / ranks_;
      default:
        return bytes;
    }
  }

 private:
  Result<std::unique_ptr<Exchange>> Message(int from, int to) {
    std::vector<Outgoing> outgoing;
    std::vector<Incoming> incoming;
    if (rank_ == from) outgoing.push_back({to, mine_});
    if (rank_ == to) incoming.push_back({from, all_});
    return communicator_.Book("ping-pong", std::move(outgoing), std::move(incoming));
  }

  // The part of the array that a rank owns.
  IndexRange Share(int owner) const {
    return ShardRange(static_cast<int64_t>(mine_.size()), ranks_, owner);
  }

  Result<std::unique_ptr<Exchange>> Shares(bool to_owners) {
    std::vector<Outgoing> outgoing;
    std::vector<Incoming> incoming;
    const IndexRange own = Share(rank_);
    // An owner needs a place for each part that comes; all of them are as long as its own.
    parts_.resize(static_cast<size_t>(own.size() * ranks_));
    for (int other = 0; other < ranks_; ++other) {
      if (other == rank_) continue;
      const IndexRange theirs = Share(other);
      const auto at = [](std::vector<std::byte>& of, const IndexRange& range) {
        return std::span(of).subspan(static_cast<size_t>(range.begin),
                                     static_cast<size_t>(range.size()));
      };
      if (to_owners) {
        outgoing.push_back({other, at(mine_, theirs)});
        incoming.push_back({other, at(parts_, {other * own.size(), (other + 1) * own.size()})});
      } else {
        outgoing.push_back({other, at(mine_, own)});
        incoming.push_back({other, at(all_, theirs)});
      }
    }
    return communicator_.Book("shares of gradients", std::move(outgoing), std::move(incoming));
  }

  Communicator& communicator_;
  Collective collective_;
  int ranks_, rank_;
  std::vector<std::byte> mine_, all_, parts_;
  std::unique_ptr<Exchange> there_, back_;
};

}  // namespace

const char* NameOf(Collective collective) {
  switch (collective) {
    case Collective::kPointToPoint:
      return "point to point";
    case Collective::kAllGather:
      return "all-gather";
    case Collective::kBroadcast:
      return "broadcast";
    case Collective::kGradients:
      return "exchange of gradients";
  }
  return "";
}

Result<CollectiveTime> TimeCollective(Communicator& communicator, Collective collective,
                                      int64_t bytes, const CollectiveOptions& options) {
  const auto ranks = static_cast<size_t>(communicator.size());
  if (ranks < 2) return Status::Invalid("messages need two ranks");
  Timed timed(communicator, collective, bytes);
  LOCKSTEP_TRY(timed.Book());
  // Between two ranks the others have nothing to do.
  const bool takes_part = collective != Collective::kPointToPoint || communicator.rank() == 0 ||
                          communicator.rank() == communicator.size() - 1;
  std::vector<double> seconds(static_cast<size_t>(options.iterations));
  for (int i = -options.warm_up; i < options.iterations; ++i) {
    const auto start = std::chrono::steady_clock::now();
    if (takes_part) LOCKSTEP_TRY(timed.Run());
    const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
    if (i >= 0) seconds[static_cast<size_t>(i)] = taken.count();
  }
  LOCKSTEP_TRY_ASSIGN(const std::vector<double> all,
                      GatherAll(communicator, std::span<const double>(seconds)));
  for (size_t i = 0; i < seconds.size(); ++i) {
    for (size_t rank = 0; rank < ranks; ++rank)
      seconds[i] = std::max(seconds[i], all[rank * seconds.size() + i]);
  }
  const double trips = collective == Collective::kPointToPoint ? 2.0 : 1.0;
  return CollectiveTime{
      .bytes = bytes, .seconds = MedianOf(seconds) / trips, .moved = timed.moved()};
}

std::string OsuText(const std::string& title, std::span<const CollectiveTime> times) {
  std::string text =
      fmt::format("# {}\n{:<10}{:>18}{:>20}\n", title, "# Size", "Latency(us)", "Bandwidth(MB/s)");
  for (const CollectiveTime& time : times) {
    text += fmt::format("{:<10}{:>18.2f}{:>20.2f}\n", time.bytes, time.seconds * 1e6,
                        time.bytes_per_second() * 1e-6);
  }
  return text;
}

}  // namespace lockstep::scale
