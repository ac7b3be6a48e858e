#include "engine/comm/thread_ranks.h"

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "engine/base/check.h"
#include "engine/comm/patience.h"

namespace lockstep::inline v0_1 {
namespace {

// What one rank has booked as one exchange.
struct Booked {
  std::vector<Outgoing> outgoing;
  std::vector<int64_t> taken;  // how often each was received
  int64_t started = 0;
};

// What all ranks see; everything in it under `mutex`.
struct Hub {
  explicit Hub(int size) : left(static_cast<size_t>(size)), booked(left.size()), met(left.size()) {}

  std::mutex mutex;
  std::condition_variable changed;
  std::vector<char> left;
  std::vector<std::deque<Booked>> booked;  // by rank, then exchange; a deque: they stay in place
  struct Met {
    int64_t times = 0;  // that the rank has come to a meeting
    std::span<const std::byte> brings{};
  };
  std::vector<Met> met;
};

class ThreadRank final : public Communicator {
 public:
  ThreadRank(std::shared_ptr<Hub> hub, int rank) : hub_(std::move(hub)), rank_(rank) {}
  ~ThreadRank() override {
    const std::lock_guard lock(hub_->mutex);
    hub_->left[Me()] = true;
    hub_->changed.notify_all();
  }
  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(hub_->left.size()); }

  Result<std::unique_ptr<Exchange>> Book(std::string what, std::vector<Outgoing> outgoing,
                                         std::vector<Incoming> incoming) override;
  Status AllGather(std::span<const std::byte> mine, std::span<std::byte> all) override;
  Status Broadcast(std::span<std::byte> data, int root) override;

 private:
  class Messages;
  size_t Me() const { return static_cast<size_t>(rank_); }

  // Waits until ready() (under the lock); `peer()` is a rank that it waits for.
  template <class Ready, class Peer>
  Status Until(std::unique_lock<std::mutex>& lock, const std::string& what, const Ready& ready,
               const Peer& peer) {
    Patience patience(watch());
    Status status;
    while (status.ok() && !ready()) {
      const int from = peer();
      if (hub_->left[static_cast<size_t>(from)]) {
        status = Status::Io("rank " + std::to_string(from) + " has left, while rank " +
                            std::to_string(rank_) + " waited for " + what);
        break;
      }
      const double seconds = std::clamp(patience.seconds_left(), 0.001, 3600.0);
      hub_->changed.wait_for(lock, std::chrono::duration<double>(seconds));
      status = patience.Check([&] { return what + " from rank " + std::to_string(from); });
    }
    waited_seconds_ += patience.seconds();
    return status;
  }
  // Returns once all ranks have come here. What they bring stays to be looked at until all have met
  // once more.
  Status Meet(const std::span<const std::byte>* brings) {
    std::unique_lock lock(hub_->mutex);
    Hub::Met& mine = hub_->met[Me()];
    if (brings != nullptr) mine.brings = *brings;
    const int64_t times = ++mine.times;
    hub_->changed.notify_all();
    const auto late = [&] {
      return std::find_if(hub_->met.begin(), hub_->met.end(),
                          [&](const Hub::Met& met) { return met.times < times; });
    };
    return Until(
        lock, "all to meet", [&] { return late() == hub_->met.end(); },
        [&] { return static_cast<int>(late() - hub_->met.begin()); });
  }

  std::shared_ptr<Hub> hub_;
  const int rank_;
};

class ThreadRank::Messages final : public Exchange {
 public:
  Messages(ThreadRank& rank, std::string what, size_t number, std::vector<Incoming> incoming)
      : rank_(rank),
        what_(std::move(what)),
        number_(number),
        incoming_(std::move(incoming)),
        place_(incoming_.size()),
        received_(incoming_.size()) {
    std::vector<size_t> next(static_cast<size_t>(rank.size()));
    for (size_t i = 0; i < incoming_.size(); ++i)
      place_[i] = next[static_cast<size_t>(incoming_[i].from)]++;
  }

  Status Start() override {
    const std::lock_guard lock(hub().mutex);
    ++mine().started;
    for (const Outgoing& one : mine().outgoing)
      rank_.sent_bytes_ += static_cast<double>(one.bytes.size());
    hub().changed.notify_all();
    return Status::Ok();
  }
  Result<bool> Done() override {
    std::unique_lock lock(hub().mutex);
    Receive(lock);
    return AllTaken();
  }
  Status Wait() override {
    std::unique_lock lock(hub().mutex);
    for (;;) {
      Receive(lock);
      if (AllTaken()) return Status::Ok();
      LOCKSTEP_TRY(rank_.Until(
          lock, what_, [&] { return AnyReady() || AllTaken(); }, [&] { return WaitsFor(); }));
    }
  }

 private:
  Hub& hub() { return *rank_.hub_; }
  Booked& mine() { return hub().booked[rank_.Me()][number_]; }

  // The message that incoming i is; null while it has not been started.
  const Outgoing* Ready(size_t i, size_t* place) {
    const auto from = static_cast<size_t>(incoming_[i].from);
    if (hub().left[from] || hub().booked[from].size() <= number_) return nullptr;
    const Booked& theirs = hub().booked[from][number_];
    if (theirs.started < mine().started) return nullptr;
    size_t nth = place_[i];
    for (size_t k = 0; k < theirs.outgoing.size(); ++k) {
      if (theirs.outgoing[k].to != rank_.rank_ || nth-- != 0) continue;
      LOCKSTEP_CHECK_EQ(theirs.outgoing[k].bytes.size(), incoming_[i].bytes.size());
      *place = k;
      return &theirs.outgoing[k];
    }
    LOCKSTEP_CHECK(false, "a message that the other rank has not booked: " + what_);
    return nullptr;
  }
  void Receive(std::unique_lock<std::mutex>& lock) {
    for (size_t i = 0; i < incoming_.size(); ++i) {
      size_t place = 0;
      if (received_[i] == mine().started) continue;
      const Outgoing* message = Ready(i, &place);
      if (message == nullptr) continue;
      Booked& theirs = hub().booked[static_cast<size_t>(incoming_[i].from)][number_];
      lock.unlock();  // its sender leaves it alone until it is taken
      std::copy(message->bytes.begin(), message->bytes.end(), incoming_[i].bytes.begin());
      lock.lock();
      received_[i] = mine().started;
      ++theirs.taken[place];
      hub().changed.notify_all();
    }
  }
  bool AnyReady() {
    size_t place = 0;
    for (size_t i = 0; i < incoming_.size(); ++i) {
      if (received_[i] != mine().started && Ready(i, &place) != nullptr) return true;
    }
    return false;
  }
  bool AllReceived() {
    return std::all_of(received_.begin(), received_.end(),
                       [&](int64_t times) { return times == mine().started; });
  }
  bool AllTaken() {
    return AllReceived() && std::all_of(mine().taken.begin(), mine().taken.end(),
                                        [&](int64_t times) { return times == mine().started; });
  }
  int WaitsFor() {
    for (size_t i = 0; i < incoming_.size(); ++i) {
      if (received_[i] != mine().started) return incoming_[i].from;
    }
    for (size_t k = 0; k < mine().outgoing.size(); ++k) {
      if (mine().taken[k] != mine().started) return mine().outgoing[k].to;
    }
    return rank_.rank_;
  }

  ThreadRank& rank_;
  std::string what_;
  size_t number_;
  std::vector<Incoming> incoming_;
  std::vector<size_t> place_;      // of each among those from the same rank
  std::vector<int64_t> received_;  // the start at which each last came
};

Result<std::unique_ptr<Exchange>> ThreadRank::Book(std::string what, std::vector<Outgoing> outgoing,
                                                   std::vector<Incoming> incoming) {
  size_t number = 0;
  {
    const std::lock_guard lock(hub_->mutex);
    std::deque<Booked>& all = hub_->booked[Me()];
    number = all.size();
    std::vector<int64_t> taken(outgoing.size());
    all.push_back({std::move(outgoing), std::move(taken)});
  }
  return std::unique_ptr<Exchange>(
      std::make_unique<Messages>(*this, std::move(what), number, std::move(incoming)));
}

Status ThreadRank::AllGather(std::span<const std::byte> mine, std::span<std::byte> all) {
  LOCKSTEP_CHECK_EQ(all.size(), mine.size() * static_cast<size_t>(size()));
  LOCKSTEP_TRY(Meet(&mine));
  for (size_t r = 0; r < hub_->met.size(); ++r) {
    const std::span<const std::byte> theirs = hub_->met[r].brings;
    LOCKSTEP_CHECK_EQ(theirs.size(), mine.size());
    std::byte* to = all.data() + r * mine.size();
    if (to != theirs.data()) std::copy(theirs.begin(), theirs.end(), to);
  }
  sent_bytes_ += static_cast<double>(mine.size() * (hub_->met.size() - 1));
  return Meet(nullptr);
}

Status ThreadRank::Broadcast(std::span<std::byte> data, int root) {
  const std::span<const std::byte> brings = data;
  LOCKSTEP_TRY(Meet(&brings));
  if (root != rank_) {
    const std::span<const std::byte> from = hub_->met[static_cast<size_t>(root)].brings;
    LOCKSTEP_CHECK_EQ(from.size(), data.size());
    std::copy(from.begin(), from.end(), data.begin());
  } else {
    sent_bytes_ += static_cast<double>(data.size() * (hub_->met.size() - 1));
  }
  return Meet(nullptr);
}

}  // namespace

std::vector<std::unique_ptr<Communicator>> ThreadRanks::Make(int size) {
  LOCKSTEP_CHECK_GE(size, 1);
  const auto hub = std::make_shared<Hub>(size);
  std::vector<std::unique_ptr<Communicator>> ranks;
  for (int rank = 0; rank < size; ++rank) ranks.push_back(std::make_unique<ThreadRank>(hub, rank));
  return ranks;
}

void ThreadRanks::Run(int size, const std::function<void(Communicator&)>& body) {
  std::vector<std::unique_ptr<Communicator>> ranks = Make(size);
  std::vector<std::exception_ptr> thrown(ranks.size());
  {
    std::vector<std::jthread> threads;
    for (size_t rank = 0; rank < ranks.size(); ++rank) {
      threads.emplace_back([&, rank] {
        const std::unique_ptr<Communicator> communicator = std::move(ranks[rank]);
        try {
          body(*communicator);
        } catch (...) {
          thrown[rank] = std::current_exception();
        }
      });
    }
  }
  for (const std::exception_ptr& one : thrown) {
    if (one != nullptr) std::rethrow_exception(one);
  }
}

}  // namespace lockstep
