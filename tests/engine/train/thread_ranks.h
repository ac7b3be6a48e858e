// Communicators between threads of this process, so that runs of several ranks can be tested
// without MPI.
#ifndef LOCKSTEP_TESTS_ENGINE_TRAIN_THREAD_RANKS_H_
#define LOCKSTEP_TESTS_ENGINE_TRAIN_THREAD_RANKS_H_

#include <algorithm>
#include <barrier>
#include <cstddef>
#include <functional>
#include <span>
#include <thread>
#include <vector>

#include "engine/comm/communicator.h"
#include "engine/parallel/shards.h"

namespace lockstep::toy {

class ThreadRanks {
 public:
  explicit ThreadRanks(int size) : barrier_(size), spans_(static_cast<size_t>(size)) {}

  // body(communicator) on a thread for each rank; returns when all have ended.
  static void Run(int size, const std::function<void(Communicator&)>& body) {
    ThreadRanks hub(size);
    std::vector<std::jthread> threads;
    for (int rank = 0; rank < size; ++rank) {
      threads.emplace_back([&, rank] {
        Rank communicator(hub, rank);
        body(communicator);
      });
    }
  }

 private:
  class Rank final : public Communicator {
   public:
    Rank(ThreadRanks& hub, int rank) : hub_(hub), rank_(rank) {}
    int rank() const override { return rank_; }
    int size() const override { return static_cast<int>(hub_.spans_.size()); }

    Status AllGather(std::span<const std::byte> mine, std::span<std::byte> all) override {
      Publish({const_cast<std::byte*>(mine.data()), mine.size()});
      for (size_t r = 0; r < hub_.spans_.size(); ++r)
        std::copy_n(hub_.spans_[r].data(), mine.size(), all.data() + r * mine.size());
      hub_.barrier_.arrive_and_wait();
      return Status::Ok();
    }
    Status AllReduce(std::span<float> data) override {
      Publish(std::as_writable_bytes(data));
      std::vector<float> sum(data.size()), terms(hub_.spans_.size());
      for (size_t i = 0; i < data.size(); ++i) {
        for (size_t r = 0; r < terms.size(); ++r)
          terms[r] = reinterpret_cast<const float*>(hub_.spans_[r].data())[i];
        MergeTree(0, size(), [&](int64_t into, int64_t from) {
          terms[static_cast<size_t>(into)] += terms[static_cast<size_t>(from)];
        });
        sum[i] = terms[0];
      }
      hub_.barrier_.arrive_and_wait();
      std::copy(sum.begin(), sum.end(), data.begin());
      return Status::Ok();
    }
    Status Broadcast(std::span<std::byte> data, int root) override {
      Publish(data);
      if (root != rank_) {
        const std::span<std::byte> from = hub_.spans_[static_cast<size_t>(root)];
        std::copy(from.begin(), from.end(), data.begin());
      }
      hub_.barrier_.arrive_and_wait();
      return Status::Ok();
    }

   private:
    void Publish(std::span<std::byte> data) {
      hub_.spans_[static_cast<size_t>(rank_)] = data;
      hub_.barrier_.arrive_and_wait();
    }

    ThreadRanks& hub_;
    const int rank_;
  };

  std::barrier<> barrier_;
  std::vector<std::span<std::byte>> spans_;  // what each rank brings
};

}  // namespace lockstep::toy

#endif  // LOCKSTEP_TESTS_ENGINE_TRAIN_THREAD_RANKS_H_
