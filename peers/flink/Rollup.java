import org.apache.flink.configuration.Configuration;
import org.apache.flink.streaming.api.environment.StreamExecutionEnvironment;
import org.apache.flink.table.api.StatementSet;
import org.apache.flink.table.api.bridge.java.StreamTableEnvironment;

/**
 * Rollup TOPIC DIR: the topic of `siji bench aggregate` by Apache Flink, once and to its end. Ids seen before within the
 * hour are dropped; events, counts and amounts are summed by hour, place, type, service and channel at three tiers and
 * written as Parquet, with a checkpoint every ten seconds. No ledger, no validation, no community tier.
 */
public class Rollup {
  static void mark(String what) {
    System.out.println("MARK " + what + " " + System.currentTimeMillis());
    System.out.flush();
  }

  public static void main(String[] arguments) throws Exception {
    String topic = arguments[0], out = arguments[1];
    String brokers = System.getenv().getOrDefault("BROKERS", "127.0.0.1:9092");
    Configuration c = new Configuration();
    c.setString("parallelism.default", "2");
    c.setString("execution.checkpointing.interval", "10s");
    c.setString("execution.checkpointing.mode", "EXACTLY_ONCE");
    c.setString("state.backend.type", "hashmap");
    c.setString("execution.checkpointing.storage", "filesystem");
    c.setString("execution.checkpointing.dir", "file://" + out + "-checkpoints");
    c.setString("taskmanager.memory.managed.size", "64m");
    c.setString("taskmanager.memory.network.max", "128m");
    c.setString("taskmanager.memory.network.min", "128m");
    c.setString("taskmanager.numberOfTaskSlots", "2");
    c.setString("pipeline.object-reuse", "true");
    StreamExecutionEnvironment environment = StreamExecutionEnvironment.getExecutionEnvironment(c);
    StreamTableEnvironment t = StreamTableEnvironment.create(environment);
    t.getConfig().set("table.local-time-zone", "UTC");
    t.executeSql("CREATE TABLE events (event_id STRING, event_type STRING, occurred_at TIMESTAMP_LTZ(3), area_code STRING,"
        + " service_code STRING, channel STRING, `count` BIGINT, amount_fen BIGINT,"
        + " WATERMARK FOR occurred_at AS occurred_at - INTERVAL '2' HOUR) WITH ('connector'='kafka',"
        + " 'topic'='" + topic + "', 'properties.bootstrap.servers'='" + brokers + "', 'properties.group.id'='flink',"
        + " 'scan.startup.mode'='earliest-offset', 'scan.bounded.mode'='latest-offset',"
        + " 'format'='json', 'json.ignore-parse-errors'='false', 'json.timestamp-format.standard'='ISO-8601')");
    t.executeSql("CREATE TEMPORARY VIEW once AS SELECT event_type, area_code, service_code, channel, `count`, amount_fen,"
        + " occurred_at FROM (SELECT *, ROW_NUMBER() OVER (PARTITION BY window_start, window_end, event_id ORDER BY"
        + " occurred_at) AS n FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(occurred_at), INTERVAL '1' HOUR))) WHERE n = 1");
    StatementSet tiers = t.createStatementSet();
    String[] names = {"street", "district", "city"};
    int[] digits = {9, 6, 4};
    for (int i = 0; i < names.length; i++) {
      t.executeSql("CREATE TABLE out_" + names[i] + " (`hour` TIMESTAMP(3), area STRING, event_type STRING,"
          + " service_code STRING, channel STRING, n BIGINT, count_sum BIGINT, amount_sum BIGINT) WITH ("
          + " 'connector'='filesystem', 'path'='file://" + out + "/" + names[i] + "', 'format'='parquet',"
          + " 'parquet.compression'='ZSTD', 'sink.rolling-policy.file-size'='128MB',"
          + " 'sink.rolling-policy.rollover-interval'='30 min')");
      t.executeSql("CREATE TEMPORARY VIEW at_" + names[i] + " AS SELECT SUBSTRING(area_code, 1, " + digits[i] + ") AS area,"
          + " event_type, service_code, channel, `count`, amount_fen, occurred_at FROM once");
      tiers.addInsertSql("INSERT INTO out_" + names[i] + " SELECT window_start, area, event_type, service_code, channel,"
          + " COUNT(*), SUM(`count`), SUM(amount_fen) FROM TABLE(TUMBLE(TABLE at_" + names[i] + ", DESCRIPTOR(occurred_at),"
          + " INTERVAL '1' HOUR)) GROUP BY window_start, window_end, area, event_type, service_code, channel");
    }
    mark("begin");
    tiers.execute().await();
    mark("end");
    System.exit(0);
  }
}
