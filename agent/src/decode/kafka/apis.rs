//! APIs by their numbers (<https://kafka.apache.org/protocol#protocol_api_keys>).

pub(super) const PRODUCE: i16 = 0;
pub(super) const FETCH: i16 = 1;
pub(super) const METADATA: i16 = 3;
pub(super) const OFFSET_COMMIT: i16 = 8;
pub(super) const OFFSET_FETCH: i16 = 9;
pub(super) const FIND_COORDINATOR: i16 = 10;
pub(super) const JOIN_GROUP: i16 = 11;
pub(super) const HEARTBEAT: i16 = 12;
pub(super) const LEAVE_GROUP: i16 = 13;
pub(super) const SYNC_GROUP: i16 = 14;
pub(super) const SASL_HANDSHAKE: i16 = 17;
pub(super) const API_VERSIONS: i16 = 18;
pub(super) const INIT_PRODUCER_ID: i16 = 22;
pub(super) const SASL_AUTHENTICATE: i16 = 36;

#[derive(Debug)]
pub(super) struct Api {
    pub(super) key: i16,
    pub(super) name: &'static str,
    /// The first version with compact types; `i16::MAX` when not known, or none.
    flexible: i16,
    /// The last version whose fields are known; -1 when only the name is.
    known: i16,
}

const fn api(key: i16, name: &'static str, flexible: i16, known: i16) -> Api {
    Api { key, name, flexible, known }
}

const fn named(key: i16, name: &'static str) -> Api {
    api(key, name, i16::MAX, -1)
}

/// No API has more versions.
const VERSIONS: i16 = 20;

static APIS: &[Api] = &[
    api(PRODUCE, "Produce", 9, 12),
    api(FETCH, "Fetch", 12, 12),
    named(2, "ListOffsets"),
    api(METADATA, "Metadata", 9, 12),
    named(4, "LeaderAndIsr"),
    named(5, "StopReplica"),
    named(6, "UpdateMetadata"),
    named(7, "ControlledShutdown"),
    api(OFFSET_COMMIT, "OffsetCommit", 8, 9),
    api(OFFSET_FETCH, "OffsetFetch", 6, 7),
    api(FIND_COORDINATOR, "FindCoordinator", 3, 3),
    api(JOIN_GROUP, "JoinGroup", 6, 9),
    api(HEARTBEAT, "Heartbeat", 4, 4),
    api(LEAVE_GROUP, "LeaveGroup", 4, 5),
    api(SYNC_GROUP, "SyncGroup", 4, 5),
    named(15, "DescribeGroups"),
    named(16, "ListGroups"),
    api(SASL_HANDSHAKE, "SaslHandshake", i16::MAX, 1),
    api(API_VERSIONS, "ApiVersions", 3, 4),
    named(19, "CreateTopics"),
    named(20, "DeleteTopics"),
    named(21, "DeleteRecords"),
    api(INIT_PRODUCER_ID, "InitProducerId", 2, 4),
    named(23, "OffsetForLeaderEpoch"),
    named(24, "AddPartitionsToTxn"),
    named(25, "AddOffsetsToTxn"),
    named(26, "EndTxn"),
    named(27, "WriteTxnMarkers"),
    named(28, "TxnOffsetCommit"),
    named(29, "DescribeAcls"),
    named(30, "CreateAcls"),
    named(31, "DeleteAcls"),
    named(32, "DescribeConfigs"),
    named(33, "AlterConfigs"),
    named(34, "AlterReplicaLogDirs"),
    named(35, "DescribeLogDirs"),
    api(SASL_AUTHENTICATE, "SaslAuthenticate", 2, 2),
    named(37, "CreatePartitions"),
    named(38, "CreateDelegationToken"),
    named(39, "RenewDelegationToken"),
    named(40, "ExpireDelegationToken"),
    named(41, "DescribeDelegationToken"),
    named(42, "DeleteGroups"),
    named(43, "ElectLeaders"),
    named(44, "IncrementalAlterConfigs"),
    named(45, "AlterPartitionReassignments"),
    named(46, "ListPartitionReassignments"),
    named(47, "OffsetDelete"),
    named(48, "DescribeClientQuotas"),
    named(49, "AlterClientQuotas"),
    named(50, "DescribeUserScramCredentials"),
    named(51, "AlterUserScramCredentials"),
    named(55, "DescribeQuorum"),
    named(57, "UpdateFeatures"),
    named(60, "DescribeCluster"),
    named(61, "DescribeProducers"),
    named(65, "DescribeTransactions"),
    named(66, "ListTransactions"),
    named(68, "ConsumerGroupHeartbeat"),
    named(69, "ConsumerGroupDescribe"),
    named(71, "GetTelemetrySubscriptions"),
    named(72, "PushTelemetry"),
    named(75, "DescribeTopicPartitions"),
];

impl Api {
    pub(super) fn find(key: i16) -> Option<&'static Self> {
        APIS.iter().find(|api| api.key == key)
    }

    /// Whether there may be such a version.
    pub(super) fn has(&self, version: i16) -> bool {
        (0..VERSIONS).contains(&version)
    }

    /// Whether the fields of a version are known.
    pub(super) const fn knows(&self, version: i16) -> bool {
        0 <= version && version <= self.known
    }

    pub(super) const fn is_compact(&self, version: i16) -> bool {
        version >= self.flexible
    }
}
