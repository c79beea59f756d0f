// Bulk TCP transfers over one drop-tail bottleneck, in ns-3 (3.39 or later): what traces/ns3.csv was measured with.
//
//     senders --(10 Gbps, extra one-way latency)-- router --(rate, rtt / 2, queue)-- receiver
//
// Initial window 10, MSS 1448, SACK, HyStart; prints {"completion_s": [...]}, -1 for what did not end in time.
#include "ns3/applications-module.h"
#include "ns3/core-module.h"
#include "ns3/internet-module.h"
#include "ns3/network-module.h"
#include "ns3/point-to-point-module.h"
#include "ns3/traffic-control-module.h"

#include <cstdio>
#include <sstream>
#include <string>
#include <vector>

using namespace ns3;

namespace
{

struct Transfer
{
    Ptr<PacketSink> sink;
    double start;
    double end;
};

std::vector<Transfer> transfers;
uint64_t wanted;
std::size_t underWay;

void
Received(uint32_t number, Ptr<const Packet>, const Address&)
{
    Transfer& transfer = transfers[number];
    if (transfer.end < 0 && transfer.sink->GetTotalRx() >= wanted)
    {
        transfer.end = Simulator::Now().GetSeconds();
        if (--underWay == 0)
        {
            Simulator::Stop();
        }
    }
}

std::vector<double>
Numbers(const std::string& text)
{
    std::vector<double> numbers;
    std::stringstream stream(text);
    for (std::string part; std::getline(stream, part, ',');)
    {
        numbers.push_back(std::stod(part));
    }
    return numbers;
}

} // namespace

int
main(int argc, char** argv)
{
    double rate = 20;
    double rtt = 0.05;
    double loss = 0;
    double limit = 1000;
    uint32_t flows = 1;
    uint32_t queue = 50;
    uint32_t window = 64000000;
    uint32_t run = 1;
    std::string congestion = "TcpCubic";
    std::string extra;
    std::string starts;
    CommandLine command;
    command.AddValue("rate", "of the bottleneck, Mbps", rate);
    command.AddValue("rtt", "seconds", rtt);
    command.AddValue("size", "bytes of each transfer", wanted);
    command.AddValue("flows", "how many", flows);
    command.AddValue("queue", "of the bottleneck, packets", queue);
    command.AddValue("congestion", "TcpCubic or TcpLinuxReno", congestion);
    command.AddValue("extra", "one-way latency before the router of each flow, seconds", extra);
    command.AddValue("starts", "of each flow, seconds", starts);
    command.AddValue("window", "buffers of sender and receiver, bytes", window);
    command.AddValue("loss", "share of packets lost at random", loss);
    command.AddValue("run", "of the random numbers", run);
    command.AddValue("limit", "give up after so many seconds", limit);
    command.Parse(argc, argv);

    RngSeedManager::SetRun(run);
    Config::SetDefault("ns3::TcpSocket::SegmentSize", UintegerValue(1448));
    Config::SetDefault("ns3::TcpSocket::InitialCwnd", UintegerValue(10));
    Config::SetDefault("ns3::TcpSocket::SndBufSize", UintegerValue(window));
    Config::SetDefault("ns3::TcpSocket::RcvBufSize", UintegerValue(window));
    Config::SetDefault("ns3::TcpL4Protocol::SocketType", TypeIdValue(TypeId::LookupByName("ns3::" + congestion)));

    NodeContainer ends(2);
    NodeContainer senders(flows);
    InternetStackHelper stack;
    stack.Install(ends);
    stack.Install(senders);

    PointToPointHelper narrow;
    narrow.SetDeviceAttribute("DataRate", DataRateValue(DataRate(static_cast<uint64_t>(rate * 1e6))));
    narrow.SetChannelAttribute("Delay", TimeValue(Seconds(rtt / 2)));
    narrow.SetQueue("ns3::DropTailQueue<Packet>", "MaxSize", StringValue("1p")); // packets wait in the discipline
    NetDeviceContainer bottleneck = narrow.Install(ends);
    TrafficControlHelper discipline;
    discipline.SetRootQueueDisc("ns3::FifoQueueDisc", "MaxSize", StringValue(std::to_string(queue) + "p"));
    discipline.Install(bottleneck.Get(0));
    if (loss > 0)
    {
        Ptr<RateErrorModel> errors = CreateObject<RateErrorModel>();
        errors->SetAttribute("ErrorRate", DoubleValue(loss));
        errors->SetAttribute("ErrorUnit", StringValue("ERROR_UNIT_PACKET"));
        bottleneck.Get(1)->SetAttribute("ReceiveErrorModel", PointerValue(errors));
    }

    Ipv4AddressHelper addresses;
    addresses.SetBase("10.0.0.0", "255.255.255.0");
    const Ipv4Address receiver = addresses.Assign(bottleneck).GetAddress(1);
    const std::vector<double> extraOf = Numbers(extra);
    for (uint32_t i = 0; i < flows; i++)
    {
        PointToPointHelper wide;
        wide.SetDeviceAttribute("DataRate", StringValue("10Gbps"));
        wide.SetChannelAttribute("Delay", TimeValue(Seconds(extraOf.empty() ? 0 : extraOf[i])));
        wide.SetQueue("ns3::DropTailQueue<Packet>", "MaxSize", StringValue("1000000p"));
        NetDeviceContainer access = wide.Install(NodeContainer(senders.Get(i), ends.Get(0)));
        addresses.SetBase(("10.1." + std::to_string(i + 1) + ".0").c_str(), "255.255.255.0");
        addresses.Assign(access);
        TrafficControlHelper().Uninstall(access);
    }
    Ipv4GlobalRoutingHelper::PopulateRoutingTables();

    const std::vector<double> startOf = Numbers(starts);
    underWay = flows;
    for (uint32_t i = 0; i < flows; i++)
    {
        const uint16_t port = 5000 + i;
        PacketSinkHelper sink("ns3::TcpSocketFactory", InetSocketAddress(Ipv4Address::GetAny(), port));
        ApplicationContainer receiving = sink.Install(ends.Get(1));
        BulkSendHelper source("ns3::TcpSocketFactory", InetSocketAddress(receiver, port));
        source.SetAttribute("MaxBytes", UintegerValue(wanted));
        ApplicationContainer sending = source.Install(senders.Get(i));
        const double start = startOf.empty() ? 0 : startOf[i];
        sending.Start(Seconds(start));
        transfers.push_back({DynamicCast<PacketSink>(receiving.Get(0)), start, -1});
        transfers[i].sink->TraceConnectWithoutContext("Rx", MakeBoundCallback(&Received, i));
    }
    Simulator::Stop(Seconds(limit));
    Simulator::Run();
    std::printf("{\"completion_s\": [");
    for (const Transfer& transfer : transfers)
    {
        std::printf("%s%.6f", &transfer == &transfers.front() ? "" : ", ",
                    transfer.end < 0 ? -1 : transfer.end - transfer.start);
    }
    std::printf("]}\n");
    Simulator::Destroy();
    return 0;
}
