import java.util.Arrays;
import java.util.Set;

import org.apache.flink.api.common.typeinfo.TypeInformation;
import org.apache.flink.configuration.ConfigOption;
import org.apache.flink.configuration.ConfigOptions;
import org.apache.flink.configuration.ReadableConfig;
import org.apache.flink.connector.datagen.source.DataGeneratorSource;
import org.apache.flink.connector.datagen.source.GeneratorFunction;
import org.apache.flink.table.connector.ChangelogMode;
import org.apache.flink.table.connector.source.DynamicTableSource;
import org.apache.flink.table.connector.source.ScanTableSource;
import org.apache.flink.table.connector.source.SourceProvider;
import org.apache.flink.table.connector.source.abilities.SupportsProjectionPushDown;
import org.apache.flink.table.data.RowData;
import org.apache.flink.table.factories.DynamicTableSourceFactory;
import org.apache.flink.table.factories.FactoryUtil;
import org.apache.flink.table.types.DataType;

/** The table connector `nexmark`: one kind of events, in as many partitions as there are readers, only the columns that a query reads. */
public final class EventTable implements DynamicTableSourceFactory {
    static final ConfigOption<String> KIND = ConfigOptions.key("kind").stringType().noDefaultValue();
    static final ConfigOption<Long> ROUNDS = ConfigOptions.key("rounds").longType().noDefaultValue();
    static final ConfigOption<Long> PARTITIONS = ConfigOptions.key("partitions").longType().noDefaultValue();
    static final ConfigOption<Long> NANOS = ConfigOptions.key("nanos").longType().noDefaultValue();

    @Override
    public String factoryIdentifier() {
        return "nexmark";
    }

    @Override
    public Set<ConfigOption<?>> requiredOptions() {
        return Set.of(KIND, ROUNDS, PARTITIONS, NANOS);
    }

    @Override
    public Set<ConfigOption<?>> optionalOptions() {
        return Set.of();
    }

    @Override
    public DynamicTableSource createDynamicTableSource(Context context) {
        FactoryUtil.TableFactoryHelper helper = FactoryUtil.createTableFactoryHelper(this, context);
        ReadableConfig options = helper.getOptions();
        DataType type = context.getPhysicalRowDataType();
        int[] columns = new int[DataType.getFieldCount(type)];
        Arrays.setAll(columns, i -> i);
        return new Scan(options.get(KIND), options.get(ROUNDS), options.get(PARTITIONS), options.get(NANOS), columns, type);
    }

    private static final class Scan implements ScanTableSource, SupportsProjectionPushDown {
        private final String kind;
        private final long rounds;
        private final long partitions;
        private final long nanos;
        private int[] columns;
        private DataType type;

        Scan(String kind, long rounds, long partitions, long nanos, int[] columns, DataType type) {
            this.kind = kind;
            this.rounds = rounds;
            this.partitions = partitions;
            this.nanos = nanos;
            this.columns = columns;
            this.type = type;
        }

        @Override
        public ChangelogMode getChangelogMode() {
            return ChangelogMode.insertOnly();
        }

        @Override
        public ScanRuntimeProvider getScanRuntimeProvider(ScanContext context) {
            TypeInformation<RowData> info = context.createTypeInformation(type);
            long rows = rounds / partitions * Events.share(kind);
            Make make = new Make(kind, rows, partitions, nanos, columns);
            return SourceProvider.of(new DataGeneratorSource<>(make, rows * partitions, info));
        }

        @Override
        public boolean supportsNestedProjection() {
            return false;
        }

        @Override
        public void applyProjection(int[][] fields, DataType projected) {
            columns = Arrays.stream(fields).mapToInt(f -> f[0]).toArray();
            type = projected;
        }

        @Override
        public DynamicTableSource copy() {
            return new Scan(kind, rounds, partitions, nanos, columns, type);
        }

        @Override
        public String asSummaryString() {
            return "NEXMark " + kind;
        }
    }

    /** Each reader has a contiguous range of row numbers: that is its partition. */
    private static final class Make implements GeneratorFunction<Long, RowData> {
        private static final long serialVersionUID = 1;
        private final String kind;
        private final long rows;
        private final long partitions;
        private final long nanos;
        private final int[] columns;

        Make(String kind, long rows, long partitions, long nanos, int[] columns) {
            this.kind = kind;
            this.rows = rows;
            this.partitions = partitions;
            this.nanos = nanos;
            this.columns = columns;
        }

        @Override
        public RowData map(Long number) {
            long id = Events.event(kind, number / rows, partitions, number % rows);
            return Events.row(kind, id, nanos, columns);
        }
    }
}
