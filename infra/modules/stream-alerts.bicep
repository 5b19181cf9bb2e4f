// What a person must hear of on the way from events to readings: what waits, what fails, what was left out. By metrics,
// which Azure keeps by itself; docs/streaming.md says what to do about each.

param tags object
param contacts string
param namespaceId string
param capture bool
param throughputUnits int
param jobId string

@description('Seconds after which the rows of an hour are not there when its run begins: by its limits alone the job lags by most of them.')
param behindSeconds int

param factoryId string
param iotHubId string

var actions = empty(contacts) ? [] : [{ actionGroupId: contacts }]

var ofEvents = empty(namespaceId) ? [] : [
  {
    name: 'events-refused'
    scope: namespaceId
    severity: 2
    window: 'PT15M'
    description: 'The event hub refuses events, or is short of throughput units: devices try again, or lose them.'
    criteria: [{ metric: 'ThrottledRequests', by: 'Total', operator: 'GreaterThan', threshold: 0 }]
  }
]
var ofCapture = !capture ? [] : [
  {
    name: 'capture-behind'
    scope: namespaceId
    severity: 2
    window: 'PT30M'
    description: 'Capture is behind: events wait that should be files. The hours that are scored meanwhile lack them.'
    // Bytes: some always wait for the next file. More than can come in its five minutes should not.
    criteria: [{ metric: 'CaptureBacklog', by: 'Average', operator: 'GreaterThan', threshold: 300 * 1048576 * throughputUnits }]
  }
  {
    name: 'capture-stopped'
    scope: namespaceId
    severity: 1
    window: 'PT1H'
    description: 'Events come, and for an hour no file was made of any: the right to write, or the account.'
    criteria: [
      { metric: 'IncomingMessages', by: 'Total', operator: 'GreaterThan', threshold: 0 }
      { metric: 'CapturedMessages', by: 'Total', operator: 'LessThan', threshold: 1 }
    ]
  }
]
var ofJob = empty(jobId) ? [] : [
  {
    name: 'stream-behind'
    scope: jobId
    severity: 2
    window: 'PT15M'
    description: 'Stream Analytics is ten minutes later than its limits explain: hours are scored before all their rows are there.'
    criteria: [{ metric: 'OutputWatermarkDelaySeconds', by: 'Maximum', operator: 'GreaterThan', threshold: behindSeconds }]
  }
  {
    name: 'stream-errors'
    scope: jobId
    severity: 1
    window: 'PT15M'
    description: 'Stream Analytics has errors: in the query, the output, or the form of events.'
    criteria: [{ metric: 'Errors', by: 'Total', operator: 'GreaterThan', threshold: 0 }]
  }
  {
    name: 'stream-unreadable'
    scope: jobId
    severity: 2
    window: 'PT15M'
    description: 'Events that are no JSON, or have no time, were left out.'
    criteria: [{ metric: 'DeserializationError', by: 'Total', operator: 'GreaterThan', threshold: 0 }]
  }
  {
    name: 'stream-late'
    scope: jobId
    severity: 3
    window: 'PT1H'
    description: 'Events came later, or more out of order, than the limits of the job allow, and were left out.'
    criteria: [{ metric: 'DroppedOrAdjustedEvents', by: 'Total', operator: 'GreaterThan', threshold: 0 }]
  }
]
var ofDevices = empty(iotHubId) ? [] : [
  {
    name: 'iot-hub-drops'
    scope: iotHubId
    severity: 1
    window: 'PT15M'
    description: 'The IoT Hub drops messages: it cannot reach the event hub, or may not.'
    criteria: [{ metric: 'd2c.telemetry.egress.dropped', by: 'Total', operator: 'GreaterThan', threshold: 0 }]
  }
]
var ofFactory = empty(factoryId) ? [] : [
  {
    name: 'static-data-failed'
    scope: factoryId
    severity: 1
    window: 'PT15M'
    description: 'A run of the pipeline has failed: an hour lacks its static data. docs/static-data.md.'
    criteria: [{ metric: 'PipelineFailedRuns', by: 'Total', operator: 'GreaterThan', threshold: 0 }]
  }
]

resource alerts 'Microsoft.Insights/metricAlerts@2018-03-01' = [
  for rule in concat(ofEvents, ofCapture, ofJob, ofDevices, ofFactory): {
    name: 'fleetscore-${rule.name}'
    location: 'global'
    tags: tags
    properties: {
      description: rule.description
      severity: rule.severity
      enabled: true
      autoMitigate: true
      scopes: [rule.scope]
      evaluationFrequency: 'PT5M'
      windowSize: rule.window
      criteria: {
        'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
        allOf: [
          for each in rule.criteria: {
            criterionType: 'StaticThresholdCriterion'
            name: each.metric
            metricName: each.metric
            timeAggregation: each.by
            operator: each.operator
            threshold: each.threshold
          }
        ]
      }
      actions: actions
    }
  }
]

// A job that has failed makes no metrics: what is heard is Azure's own line about it.
resource stopped 'Microsoft.Insights/activityLogAlerts@2020-10-01' = if (!empty(jobId)) {
  name: 'fleetscore-stream-stopped'
  location: 'global'
  tags: tags
  properties: {
    description: 'Stream Analytics says that the job failed, or could not be started. docs/streaming.md.'
    enabled: true
    scopes: [jobId]
    condition: {
      allOf: [
        { field: 'category', equals: 'Administrative' }
        { field: 'resourceId', equals: jobId }
        { field: 'status', equals: 'Failed' }
      ]
    }
    actions: { actionGroups: actions }
  }
}
